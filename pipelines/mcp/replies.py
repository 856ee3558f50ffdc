"""What the tools give back: data with exact spans, and the same as text that a model reads."""

from __future__ import annotations

import re

from pydantic import BaseModel, Field

from fovea.pipelines.documents_under import SpanUnder
from fovea.rag.documents import Hit, place
from fovea.rag.types import Answer, Citation, Sentence
from fovea.retrievers.library.listing import DocumentRow

_HALVES = re.compile("[\ud800-\udfff]")


def sendable(text: str) -> str:
    """`text` as UTF-8 can carry it: halves of surrogate pairs, which it cannot, become U+FFFD, one for one."""
    return _HALVES.sub("\ufffd", text)


class Place(BaseModel):
    """The characters `[start, end)` of a document's text."""

    document: str = Field(description="id of the document, for read_span")
    source: str = Field(description="file the document came from")
    start: int = Field(description="first character of the span, counted from 0 in Unicode code points")
    end: int = Field(description="character behind the span")
    page: int | None = Field(description="page on which the span starts, from 1, where the source has pages")

    @property
    def where(self) -> str:
        """How people name it."""
        page = f" p.{self.page}" if self.page is not None else ""
        return f"{place(self.document, self.source)}:{self.start}-{self.end}{page}"


class Passage(Place):
    """A passage that was found."""

    score: float = Field(description="of the last stage; higher is better, and comparable within one search only")
    text: str
    truncated: bool = Field(description="whether text is only the beginning of the span; read_span reads on")


class Passages(BaseModel):
    """The passages for a question, best first."""

    passages: list[Passage]


class Quote(Place):
    """What a sentence of an answer rests on."""

    n: int = Field(description="number by which sentences refer to it")
    quote: str = Field(description="the text of the span, word for word")


class Said(BaseModel):
    """A sentence of an answer."""

    text: str
    supported: bool = Field(description="whether a passage was found that supports it")
    citations: list[int] = Field(description="numbers of the quotes it rests on")


class Reply(BaseModel):
    """An answer, each sentence with the quotes it rests on."""

    text: str
    sentences: list[Said]
    citations: list[Quote]


class Text(Place):
    """A part of a document's text."""

    text: str
    characters: int = Field(description="length of the whole document")


class Listed(BaseModel):
    """A document of the store."""

    document: str = Field(description="id, for read_span")
    source: str
    title: str
    media_type: str
    characters: int = Field(description="length of the text")
    pages: int = Field(description="0 where the source has none")
    uri: str = Field(description="resource that holds the text")


class Documents(BaseModel):
    """A page of the list of documents."""

    documents: list[Listed]
    next: str | None = Field(description="`after` for the next page; null on the last")


class Failed(BaseModel):
    """A source that could not be read."""

    source: str
    reason: str


class Status(BaseModel):
    """What there is to ask."""

    name: str
    description: str
    documents: int
    failed: list[Failed] = Field(description="sources that could not be read")
    scope: str | None = Field(description="filter that every call is held to")
    writable: bool


class Ingested(BaseModel):
    """What an ingest did, by the names of sources."""

    added: list[str]
    changed: list[str]
    removed: list[str]
    unchanged: int
    failed: list[Failed]


class Removed(BaseModel):
    """What was removed."""

    sources: list[str]


def passage(hit: Hit, most: int) -> Passage:
    """A hit, its text of `most` characters at most."""
    c, text = hit.chunk, sendable(hit.chunk.text)
    return Passage(
        document=sendable(c.document_id), source=sendable(c.source), start=c.start, end=c.end, page=c.page,
        score=round(hit.score, 6), text=text[:most], truncated=len(text) > most,
    )  # fmt: skip


def passages_text(found: Passages) -> str:
    """Passages for a model to read."""
    parts = []
    for n, p in enumerate(found.passages, 1):
        cut = f"\n[cut; read_span reads on from {p.start + len(p.text)}]" if p.truncated else ""
        parts.append(f"[{n}] {p.where}\n{p.text}{cut}")
    return "\n\n".join(parts) or "nothing found"


def reply(answer: Answer, most: int) -> Reply:
    """An answer as data, its quotes of `most` characters at most."""
    cited = {c: n for n, c in enumerate(answer.citations, 1)}
    return Reply(
        text=sendable(answer.text),
        sentences=[
            Said(text=sendable(s.text), supported=s.supported, citations=[cited[c] for c in s.citations])
            for s in answer.sentences
        ],
        citations=[_quote(c, n, most) for c, n in cited.items()],
    )


def _quote(c: Citation, n: int, most: int) -> Quote:
    return Quote(
        n=n, document=sendable(c.document_id), source=sendable(c.source), start=c.start, end=c.end, page=c.page,
        quote=sendable(c.quote)[:most],
    )  # fmt: skip


def reply_text(answer: Answer, found: Reply) -> str:
    """The answer with the numbers of its citations behind each sentence, then the citations."""
    numbers = {c: n for n, c in enumerate(answer.citations, 1)}
    marked, at = "", 0
    for s in answer.sentences:
        marked, at = marked + answer.text[at : s.end] + _marks(s, numbers), s.end
    quotes = [f"[{q.n}] {q.where}: “{q.quote}”" for q in found.citations]
    return "\n".join([sendable(marked + answer.text[at:]), *([""] if quotes else []), *quotes])


def _marks(sentence: Sentence, numbers: dict[Citation, int]) -> str:
    return "".join(f" [{numbers[c]}]" for c in sentence.citations)


def text_of(row: SpanUnder) -> Text:
    """A part of a document as data."""
    return Text(
        document=sendable(row.document), source=sendable(row.source), start=row.start, end=row.end, page=row.page,
        text=sendable(row.text), characters=row.length,
    )  # fmt: skip


def listed(row: DocumentRow, uri: str) -> Listed:
    """A row of the list of documents as data."""
    return Listed(
        document=sendable(row.id), source=sendable(row.source), title=sendable(row.title),
        media_type=sendable(row.media_type), characters=row.length, pages=row.pages, uri=uri,
    )  # fmt: skip
