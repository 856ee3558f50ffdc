"""What the page asks of the store: sources, and one document's outline, text, chunks and places of a word."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body, Query, Request

from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.json_response import Json
from fovea.pipelines.server.problems import clean
from fovea.pipelines.studio.opened import Opened
from fovea.pipelines.studio.texts import blocks, find
from fovea.rag.documents import place
from fovea.rag.filters import Filter
from fovea.retrievers.library.library import SourceRow

WINDOW = 200_000
"""Characters of a document at most in one reply."""
Place = Annotated[int, Query(ge=0, le=2**53)]


def router(opened: Opened) -> APIRouter:
    """Routes that read documents."""
    routes = APIRouter()

    @routes.get("/sources")
    def sources(
        request: Request, pipeline: str = "", query: Annotated[str, Query(max_length=1000)] = "",
        state: Literal["", "ok", "failed"] = "", order: Literal["name", "size", "chunks", "updated"] = "name",
        offset: Place = 0, limit: Annotated[int, Query(ge=1, le=500)] = 100,
    ) -> Json:  # fmt: skip
        """A window of the sources whose names or errors hold `query`, and how many there are of each state."""
        rows = _seen(opened.pipeline(pipeline, request), opened.scope(request))
        wanted = query.casefold()
        found = [row for row in rows if wanted in row.name.casefold() or wanted in row.error.casefold()]
        shown = [row for row in found if state in ("", row.status)]
        shown.sort(key=attrgetter(order), reverse=order != "name")  # the largest, richest or latest first
        return Json({
            "sources": len(rows), "documents": sum(row.documents for row in rows),
            "chunks": sum(row.chunks for row in rows), "found": len(shown),
            "states": Counter(row.status for row in found), "offset": offset,
            "rows": [_plain(row) for row in shown[offset : offset + limit]],
        })  # fmt: skip

    @routes.get("/documents")
    def documents(request: Request, source: str, pipeline: str = "") -> Json:
        """The ids of a source's documents."""
        scope = opened.scope(request)
        with opened.pipeline(pipeline, request).reading() as corpus:
            names = (name for name, of in corpus.document_sources() if of == source)
            return Json({"documents": [n for n in names if scope is None or corpus.library.holds(n, scope)]})

    @routes.get("/document")
    def document(request: Request, id: str, pipeline: str = "") -> Json:
        """All of a document but its text: where its pages and its blocks begin, in characters."""
        found = opened.document(pipeline, id, request)
        return Json({
            "id": found.id, "source": found.source, "place": place(found.id, found.source), "title": found.title,
            "media_type": found.media_type, "length": len(found.text), "lines": found.line_at(len(found.text)),
            "pages": found.pages, "blocks": blocks(found.text),
        })  # fmt: skip

    @routes.get("/document/text")
    def text(request: Request, id: str, start: Place, end: Place, pipeline: str = "") -> Json:
        """The characters `[start, end)` of a document, `WINDOW` at most."""
        found = opened.document(pipeline, id, request)
        return Json({"start": start, "text": found.text[start : min(end, start + WINDOW)]})

    @routes.get("/document/chunks")
    def chunks(request: Request, id: str, pipeline: str = "") -> Json:
        """Where the chunks of a document lie, in order: `[start, end]`."""
        chosen = opened.pipeline(pipeline, request)
        opened.refuse_hidden(chosen, id, request)
        with chosen.reading() as corpus:
            return Json({"chunks": [(chunk.start, chunk.end) for chunk in corpus.library.chunks_of(id)]})

    @routes.get("/document/find")
    def found(
        request: Request, id: str, text: Annotated[str, Query(min_length=1, max_length=1000)], pipeline: str = ""
    ) -> Json:
        """Where a document holds a text, capitals aside."""
        count, places = find(opened.document(pipeline, id, request).text, text)
        return Json({"count": count, "places": places})

    @routes.post("/chunks")
    def named(
        request: Request, ids: Annotated[list[str], Body(max_length=1000)], pipeline: Annotated[str, Body()] = ""
    ) -> Json:
        """Where chunks lie, by their ids; those that are gone are left out."""
        found = opened.chunks(opened.pipeline(pipeline, request), ids, request).items()
        return Json({"chunks": {k: {"document": c.document_id, "start": c.start, "end": c.end} for k, c in found}})

    return routes


def _seen(pipeline: Pipeline, scope: Filter | None) -> list[SourceRow]:
    """The sources, within a scope those of whose documents one matches: of another's failures nothing is said."""
    with pipeline.reading() as corpus:
        rows = list(corpus.library.sources())
        if scope is None:
            return rows
        known = {row.source for row in corpus.library.listed(scope)}
    return [row for row in rows if row.name in known]


def _plain(row: SourceRow) -> dict[str, Any]:
    return {
        "name": row.name, "state": row.status, "bytes": row.size, "documents": row.documents, "chunks": row.chunks,
        "updated": row.updated, "error": clean(row.error), "attempts": row.attempts,
    }  # fmt: skip
