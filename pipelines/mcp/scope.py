"""Scope: the filter that is fixed when the server starts, to which every call is held; and what errors may show."""

from __future__ import annotations

import os
from collections.abc import Mapping

from fovea.pipelines.mcp.replies import sendable
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import FoveaError, QueryError
from fovea.rag.fields import fields
from fovea.rag.filters import All, Filter, compares, matches, parse
from fovea.rag.types import Answer, Scalar


class Scope:
    """What may be seen: all, or the documents that a filter keeps. Raises QueryError for a filter that cannot be read,
    and for one that names `page`, a field of passages.
    """

    def __init__(self, pipeline: Pipeline, text: str = "") -> None:
        self.text = text.strip()
        self.filter: Filter | None = parse(self.text) if self.text else None
        if self.filter and "page" in {part.field for part in compares(self.filter)}:
            raise QueryError("a scope is of whole documents, and 'page' is a field of their passages", where="--where")
        self._folders = sorted({str(pipeline.spec.store.path), str(pipeline.base)}, key=len, reverse=True)

    def under(self, where: str) -> Filter | None:
        """What is asked for, within the scope."""
        asked = parse(where) if where.strip() else None
        return All((self.filter, asked)) if self.filter and asked else self.filter or asked

    def holds(self, seen: Mapping[str, Scalar]) -> bool:
        """Whether a chunk with these fields lies inside."""
        return self.filter is None or matches(self.filter, seen)

    def refuse_outside(self, answer: Answer, pipeline: Pipeline) -> None:
        """Raise QueryError for an answer with a citation outside, as of a generator that reads whole documents."""
        for name in {c.document_id for c in answer.citations} if self.filter is not None else ():
            d = pipeline.corpus.document(name)
            if not self.holds(fields(d.source, d.title, d.media_type, None, d.metadata)):
                raise QueryError("the answer rests on text outside of what may be read here", fix="use search instead")

    def shown(self, error: FoveaError | str) -> str:
        """The message of an error without this machine's folders."""
        text = str(error)
        for folder in self._folders:
            text = text.replace(folder + os.sep, "").replace(folder, "the store")
        return sendable(text)
