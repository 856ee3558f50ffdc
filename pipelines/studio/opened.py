"""What all routes of the studio share: the pipelines as the caller may see them, and the documents read last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from fastapi import Request

from fovea.pipelines.documents_under import NoDocument
from fovea.pipelines.pipeline import Pipeline
from fovea.pipelines.server.problems import Problem
from fovea.pipelines.server.served import Served, caller_of
from fovea.pipelines.studio.texts import Texts
from fovea.rag.errors import QueryError
from fovea.rag.filters import Filter
from fovea.rag.types import Chunk, Document


@dataclass(frozen=True)
class Opened:
    """What is served, and the folder of a study, if one is shown."""

    served: Served
    study: Path | None = None
    texts: Texts = field(default_factory=Texts)
    instance: str = field(default_factory=lambda: uuid4().hex[:12])
    """Names this run of the server, so that a page knows another one."""

    def pipeline(self, name: str, request: Request) -> Pipeline:
        """The pipeline of that name, the first for none, within the caller's scope; raises Problem for another."""
        return self.served.pipeline(name or None, request)

    def scope(self, request: Request) -> Filter | None:
        """The documents that the caller may see; None: all."""
        return caller_of(request).scope

    def document(self, pipeline: str, document_id: str, request: Request) -> Document:
        """A document; raises NoDocument for one that is not there, or not in the caller's scope."""
        chosen = self.pipeline(pipeline, request)
        self.refuse_hidden(chosen, document_id, request)
        return self.texts.document(chosen, document_id)

    def refuse_hidden(self, pipeline: Pipeline, document_id: str, request: Request) -> None:
        """Raise NoDocument for what the caller cannot see."""
        with pipeline.reading() as corpus:
            there = corpus.library.holds(document_id, self.scope(request))
        if not there:
            raise NoDocument(f"there is no document {document_id!r}", fix="the list of documents has the names")

    def chunks(self, pipeline: Pipeline, ids: Sequence[str], request: Request) -> dict[str, Chunk]:
        """Chunks by their ids; those that are gone, or not the caller's to see, are left out. Raises QueryError for
        what is no id.
        """
        if odd := next((one for one in ids if len(one) != 24 or not set(one) <= set("0123456789abcdef")), None):
            raise QueryError(f"{odd[:60]!r} is no id of a chunk")
        with pipeline.reading() as corpus:
            library, scope = corpus.library, self.scope(request)
            found = library.chunk_by_no(list(library.no_of(ids).values())).values()
            seen = {name for name in {c.document_id for c in found} if library.holds(name, scope)}
        return {c.id: c for c in found if c.document_id in seen}

    def refuse_scoped(self, request: Request) -> None:
        """Raise Problem for a caller who may see a part of the documents alone."""
        if self.scope(request) is not None:
            raise Problem(403, "this key sees a part of the documents, and a study shows all of them")
