"""The words every floor speaks: Document, Span, Chunk, Query, Hit, Citation, Answer.

Text and the places in it are in `fovea.rag.documents`; here is what is asked of it and what is answered.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fovea.rag.as_of import as_of
from fovea.rag.documents import Chunk as Chunk
from fovea.rag.documents import Document as Document
from fovea.rag.documents import Hit as Hit
from fovea.rag.documents import Scalar as Scalar
from fovea.rag.documents import Span as Span
from fovea.rag.documents import place

if TYPE_CHECKING:
    from fovea.rag.filters import Filter
    from fovea.rag.trace import Trace


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said before in a conversation: by the `role` "user" or "assistant"."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked. `as_of` and `events` are for time-aware retrievers, `where` keeps only matching chunks. `itself`
    is the id of a document that is the question, as in sets of arguments: another one is found in its place. `history`
    is what was said before, oldest first: a model that answers is told of it, and nothing else looks at it.

    `as_of` may be given as a date, a datetime or an ISO text too; raises QueryError for anything else.
    """

    text: str
    as_of: datetime | None = None
    events: tuple[str, ...] = ()
    where: Filter | None = None
    itself: str = ""
    history: tuple[Turn, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "as_of", as_of(self.as_of))


@dataclass(frozen=True, slots=True)
class Citation:
    """The characters `[start, end)` of a document that support a sentence of the answer; `quote` is that very text.

    `line` is the 1-based line of the document's text in which it starts: of the converted text, where the source is not
    text itself.
    """

    document_id: str
    start: int
    end: int
    quote: str
    source: str = ""
    page: int | None = None
    score: float = 0.0
    line: int | None = None

    @property
    def where(self) -> str:
        """`source:start-end`, with the line, and the page where there is one: `tea.pdf:120-161 line 7 p.2`."""
        line = f" line {self.line}" if self.line is not None else ""
        page = f" p.{self.page}" if self.page is not None else ""
        return f"{place(self.document_id, self.source)}:{self.start}-{self.end}{line}{page}"


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
    hits: tuple[Hit, ...] = field(default=(), repr=False)
    trace: Trace | None = field(default=None, repr=False)
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
                    "line": c.line,
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
