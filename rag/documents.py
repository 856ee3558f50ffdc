"""Where text lies: Document, Span, Chunk, and the Hit that came back.

All positions are offsets in Unicode code points into `Document.text`, half open: `[start, end)`.
The law of the house is `document.text[chunk.start:chunk.end] == chunk.text`; it holds because text is only ever
sliced from the document, never joined back together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

from fovea.rag.fields import fields

Scalar = str | int | float | bool
"""What a metadata value may be. Dates are ISO 8601 strings, which sort as they should."""


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of characters `[start, end)` of one text."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.end:
            raise ValueError(f"a span needs 0 <= start <= end, got [{self.start}, {self.end})")

    def __len__(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Document:
    """One text with a name. `pages` holds the offset at which each page starts, where the source has pages."""

    id: str
    text: str
    source: str = ""
    title: str = ""
    media_type: str = "text/plain"
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    pages: tuple[int, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """The 1-based page that holds character `offset`, or None for a text without pages."""
        return max(1, bisect_right(self.pages, offset)) if self.pages else None

    def line_at(self, offset: int) -> int:
        """The 1-based line of the text that holds character `offset`; `\\n`, `\\r\\n` and `\\r` end one. O(offset)."""
        ends = (self.text.count(mark, 0, offset) for mark in ("\n", "\r"))
        return 1 + sum(ends) - self.text.count("\r\n", 0, offset)

    def chunk(self, span: Span) -> Chunk:
        """Slice `span` out of this document."""
        return Chunk(
            self.id,
            span.start,
            span.end,
            self.text[span.start : span.end],
            self.source,
            self.title,
            self.page_at(span.start),
            self.metadata,
            self.media_type,
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document, with the text it slices and where that document came from."""

    document_id: str
    start: int
    end: int
    text: str
    source: str = ""
    title: str = ""
    page: int | None = None
    metadata: Mapping[str, Scalar] = field(default_factory=dict)
    media_type: str = ""
    _id: str = field(default="", init=False, repr=False, compare=False)

    @property
    def id(self) -> str:
        """A name made of content: the same span of the same document with the same text, and nothing else."""
        if not self._id:  # Every stage asks, so it is remembered.
            key = f"{self.document_id}\0{self.start}\0{self.end}\0{self.text}".encode("utf-8", "surrogatepass")
            object.__setattr__(self, "_id", blake2b(key, digest_size=12).hexdigest())
        return self._id

    @property
    def fields(self) -> dict[str, Scalar]:
        """What filters see: the metadata, and source, path, suffix, title, media_type and page (`fovea.rag.fields`)."""
        return fields(self.source, self.title, self.media_type, self.page, self.metadata)

    @property
    def where(self) -> str:
        """`source:start-end`, with the page where there is one: how people and messages name a chunk."""
        page = f" p.{self.page}" if self.page is not None else ""
        return f"{place(self.document_id, self.source)}:{self.start}-{self.end}{page}"


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that came back. `score` is the last stage's (higher is better), `scores` what every stage said of it."""

    chunk: Chunk
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)

    def scored(self, stage: str, score: float) -> Hit:
        """The same chunk as judged by one more stage."""
        return Hit(self.chunk, score, {**self.scores, stage: score})


def place(document_id: str, source: str) -> str:
    """How people name a document: by its file, and where that holds several (rows, members of an archive), by its own
    name, which begins with the file's.
    """
    return document_id if document_id.startswith(f"{source}#") else source or document_id
