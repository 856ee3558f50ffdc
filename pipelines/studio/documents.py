"""What the page asks of the store: sources, and one document's outline, text, chunks and places of a word."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query

from fovea.pipelines.studio.opened import Opened
from fovea.pipelines.studio.plain import Plain
from fovea.pipelines.studio.texts import blocks, find
from fovea.rag.documents import place
from fovea.retrievers.library.library import SourceRow

WINDOW = 200_000
"""Characters of a document at most in one reply."""


def router(opened: Opened) -> APIRouter:
    """Routes that read documents."""
    routes = APIRouter()

    @routes.get("/sources")
    def sources(
        pipeline: str = "", query: str = "", state: Literal["", "ok", "failed"] = "",
        order: Literal["name", "size", "chunks", "updated"] = "name",
        offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Plain:  # fmt: skip
        """A window of the sources whose names or errors hold `query`, and how many there are of each state."""
        rows = list(opened.pipeline(pipeline).corpus.library.sources())
        wanted = query.casefold()
        found = [row for row in rows if wanted in row.name.casefold() or wanted in row.error.casefold()]
        states = Counter(row.status for row in found)
        shown = [row for row in found if state in ("", row.status)]
        shown.sort(key=attrgetter(order), reverse=order != "name")  # the largest, richest or latest first
        return Plain({
            "sources": len(rows), "documents": sum(row.documents for row in rows),
            "chunks": sum(row.chunks for row in rows), "found": len(shown), "states": states, "offset": offset,
            "rows": [_plain(row) for row in shown[offset : offset + limit]],
        })  # fmt: skip

    @routes.get("/documents")
    def documents(source: str, pipeline: str = "") -> Plain:
        """The ids of a source's documents."""
        library = opened.pipeline(pipeline).corpus.library
        return Plain({"documents": [name for name, of in library.document_sources() if of == source]})

    @routes.get("/document")
    def document(id: str, pipeline: str = "") -> Plain:
        """All of a document but its text: where its pages and its blocks begin, in characters."""
        found = opened.document(pipeline, id)
        return Plain({
            "id": found.id, "source": found.source, "place": place(found.id, found.source), "title": found.title,
            "media_type": found.media_type, "metadata": dict(found.metadata), "length": len(found.text),
            "lines": found.line_at(len(found.text)), "pages": found.pages, "blocks": blocks(found.text),
        })  # fmt: skip

    @routes.get("/document/text")
    def text(
        id: str, start: Annotated[int, Query(ge=0)], end: Annotated[int, Query(ge=0)], pipeline: str = ""
    ) -> Plain:
        """The characters `[start, end)` of a document, `WINDOW` at most."""
        end = min(end, start + WINDOW)
        return Plain({"start": start, "text": opened.document(pipeline, id).text[start:end]})

    @routes.get("/document/chunks")
    def chunks(id: str, pipeline: str = "") -> Plain:
        """Where the chunks of a document lie, in order: `[start, end]`."""
        found = opened.pipeline(pipeline).corpus.library.chunks_of(id)
        return Plain({"chunks": [(chunk.start, chunk.end) for chunk in found]})

    @routes.get("/document/find")
    def found(id: str, text: Annotated[str, Query(min_length=1, max_length=1000)], pipeline: str = "") -> Plain:
        """Where a document holds a text, capitals aside."""
        count, places = find(opened.document(pipeline, id).text, text)
        return Plain({"count": count, "places": places, "length": len(text)})

    @routes.post("/chunks")
    def named(ids: Annotated[list[str], Body(max_length=1000)], pipeline: Annotated[str, Body()] = "") -> Plain:
        """Chunks by their ids: where they lie, and their text. Those that are gone are left out."""
        library = opened.pipeline(pipeline).corpus.library
        known = [one for one in ids if len(one) == 24 and set(one) <= set("0123456789abcdef")]
        chunks = library.chunk_by_no(list(library.no_of(known).values())).values()
        lie = {c.id: {"document": c.document_id, "start": c.start, "end": c.end, "text": c.text} for c in chunks}
        return Plain({"chunks": lie})

    return routes


def _plain(row: SourceRow) -> dict[str, Any]:
    return {
        "name": row.name, "state": row.status, "bytes": row.size, "documents": row.documents,
        "chunks": row.chunks, "updated": row.updated, "error": row.error, "attempts": row.attempts,
    }  # fmt: skip
