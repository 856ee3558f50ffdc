"""Collection: documents, their chunks, questions and which chunks answer them: what retrievers are trained on and
measured with. Readers of formats lie in `fovea.retrievers.collections`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from fovea.rag.types import Chunk, Document, Query

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True, slots=True)
class Judged:
    """A question and the chunks that answer it: `relevant` holds a grade over 0 by `Chunk.id`."""

    id: str
    query: Query
    relevant: Mapping[str, int]
    split: Split = "test"


@dataclass(frozen=True)
class Collection:
    """One index: `chunks` are spans of `documents`, those of a document together and in rising order."""

    name: str
    documents: Sequence[Document]
    chunks: Sequence[Chunk]
    questions: Sequence[Judged] = field(default_factory=list)
    parts: Mapping[str, Split] = field(default_factory=dict)
    """What each document is for, by its id, where documents are divided and not questions alone."""

    def part(self, split: Split) -> Collection:
        """The questions of one part: over the same index, or over the documents of that part where they have one."""
        if self.parts:
            return self.only([d.id for d in self.documents if self.parts[d.id] == split])
        return replace(self, questions=[q for q in self.questions if q.split == split])

    def only(self, documents: Sequence[str]) -> Collection:
        """The documents of these ids, with their chunks and the questions that they answer."""
        wanted = set(documents)
        chunks = [c for c in self.chunks if c.document_id in wanted]
        ids = {c.id for c in chunks}
        return replace(
            self,
            documents=[d for d in self.documents if d.id in wanted],
            chunks=chunks,
            questions=[q for q in self.questions if ids & q.relevant.keys()],
        )
