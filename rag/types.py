"""The words every floor speaks: Document, Span, Chunk, Query, Hit, Citation, Answer.

All positions are offsets in Unicode code points into `Document.text`, half open: `[start, end)`.
The law of the house is `document.text[chunk.start:chunk.end] == chunk.text`; it holds because text is only ever
sliced from the document, never joined back together.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from fovea.rag.as_of import as_of
from fovea.rag.fields import fields

if TYPE_CHECKING:
    from fovea.rag.filters import Filter
    from fovea.rag.trace import Trace

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
        return f"{self.source or self.document_id}:{self.start}-{self.end}{page}"


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `as_of` and `events` are for time-aware retrievers, `where` keeps only matching chunks.

    `as_of` may be given as a date, a datetime or an ISO text too; raises QueryError for anything else.
    """

    text: str
    as_of: datetime | None = None
    events: tuple[str, ...] = ()
    where: Filter | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_of", as_of(self.as_of))


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that came back. `score` is the last stage's (higher is better), `scores` what every stage said of it."""

    chunk: Chunk
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)

    def scored(self, stage: str, score: float) -> Hit:
        """The same chunk as judged by one more stage."""
        return Hit(self.chunk, score, {**self.scores, stage: score})


@dataclass(frozen=True, slots=True)
class Citation:
    """The characters `[start, end)` of a document that support a sentence of the answer; `quote` is that very text."""

    document_id: str
    start: int
    end: int
    quote: str
    source: str = ""
    page: int | None = None
    score: float = 0.0

    @property
    def where(self) -> str:
        """`source:start-end`, with the page where there is one."""
        page = f" p.{self.page}" if self.page is not None else ""
        return f"{self.source or self.document_id}:{self.start}-{self.end}{page}"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of an answer, `[start, end)` of its text, and the citations it rests on: none means unsupported."""

    start: int
    end: int
    text: str
    citations: tuple[Citation, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether at least one citation stands behind the sentence."""
        return bool(self.citations)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer, sentence by sentence, with the passages it was made from and the trace of how. `reasoning` is what
    the model thought aloud before it, which is neither cited nor judged.
    """

    text: str
    sentences: tuple[Sentence, ...] = ()
    hits: tuple[Hit, ...] = ()
    trace: Trace | None = None
    reasoning: str = ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """Every citation once, in the order in which the answer uses them."""
        return tuple(dict.fromkeys(c for s in self.sentences for c in s.citations))

    @property
    def unsupported(self) -> Iterator[Sentence]:
        """The sentences for which no passage was found."""
        return (s for s in self.sentences if not s.supported)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        cited = {c: i for i, c in enumerate(self.citations, 1)}
        return {
            "text": self.text,
            "reasoning": self.reasoning,
            "sentences": [
                {
                    "start": s.start,
                    "end": s.end,
                    "text": s.text,
                    "supported": s.supported,
                    "citations": [cited[c] for c in s.citations],
                }
                for s in self.sentences
            ],
            "citations": [
                {
                    "n": n,
                    "source": c.source,
                    "document": c.document_id,
                    "start": c.start,
                    "end": c.end,
                    "page": c.page,
                    "score": round(c.score, 6),
                    "quote": c.quote,
                }
                for c, n in cited.items()
            ],
            "hits": [hit_to_dict(h) for h in self.hits],
            "trace": self.trace.to_dict() if self.trace else None,
        }


def hit_to_dict(hit: Hit) -> dict[str, Any]:
    """Plain data for one hit."""
    c = hit.chunk
    return {
        "id": c.id,
        "source": c.source,
        "document": c.document_id,
        "start": c.start,
        "end": c.end,
        "page": c.page,
        "score": round(hit.score, 6),
        "scores": {k: round(v, 6) for k, v in hit.scores.items()},
        "text": c.text,
    }
