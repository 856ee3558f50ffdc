"""The sentences of the passages that came back: whole ones, by their place in the document."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fovea.rag.corpus import Corpus
from fovea.rag.sentences import sentences
from fovea.rag.types import Citation, Document, Hit, Span

LEAN = 300
"""How many characters beyond a chunk are read, so that a sentence which its edge cuts is quoted whole."""

_OPENS = re.compile(r"(?:[>|]\s*|#{1,6}\s+|[-*+•]\s+|\(?\d{1,3}[.)]\s+)++")


@dataclass(frozen=True, slots=True)
class Passage:
    """One sentence of a document. `rank` is that of the hit it came with, from 0; `follows` says whether the sentence
    just before it in the list is also the one before it in the document.
    """

    document: Document
    span: Span
    rank: int
    follows: bool

    @property
    def text(self) -> str:
        """The sentence, as it stands in the document."""
        return self.document.text[self.span.start : self.span.end]

    def citation(self, score: float) -> Citation:
        """This sentence as evidence."""
        return cited(self.document, self.span, score)


def cited(document: Document, span: Span, score: float) -> Citation:
    """`span` of `document` as evidence."""
    quote, page, line = document.text[span.start : span.end], document.page_at(span.start), document.line_at(span.start)
    return Citation(document.id, span.start, span.end, quote, document.source, page, score, line)


def under(places: Sequence[Citation], passages: Sequence[Passage]) -> dict[int, float]:
    """Which of the passages lie under `places`, and what each gets of their scores, by characters."""
    found: dict[int, float] = {}
    for n, p in enumerate(passages):
        for c in places:
            both = min(c.end, p.span.end) - max(c.start, p.span.start)
            if both > 0 and c.document_id == p.document.id:
                found[n] = found.get(n, 0.0) + c.score * both / (c.end - c.start)
    return found


def read(hits: Sequence[Hit], corpus: Corpus) -> list[Passage]:
    """Every sentence of the hits once, hits in their order, sentences in reading order.

    A sentence belongs to a chunk that holds at least half of it; the bullet, number or quotation sign that opens a line
    is not part of it. Linear in the length of the hits.
    """
    documents: dict[str, Document] = {}
    seen: set[tuple[str, Span]] = set()
    found: list[Passage] = []
    for rank, hit in enumerate(hits):
        document = _document(hit.chunk.document_id, corpus, documents)
        follows = False
        for span in _within(document.text, hit.chunk.start, hit.chunk.end):
            if fresh := (document.id, span) not in seen:
                seen.add((document.id, span))
                found.append(Passage(document, span, rank, follows))
            follows = fresh
    return found


def _document(document_id: str, corpus: Corpus, known: dict[str, Document]) -> Document:
    if document_id not in known:
        known[document_id] = corpus.document(document_id)
    return known[document_id]


def _within(text: str, start: int, end: int) -> list[Span]:
    low, high = max(0, start - LEAN), min(len(text), end + LEAN)
    spans = [bare(text, low + s.start, low + s.end) for s in sentences(text[low:high])]
    return [s for s in spans if 2 * (min(s.end, end) - max(s.start, start)) >= len(s) > 0]


def bare(text: str, start: int, end: int) -> Span:
    """`[start, end)` without the bullet, number or other sign that opens a line."""
    opened = _OPENS.match(text, start, end)
    return Span(opened.end() if opened else start, end)
