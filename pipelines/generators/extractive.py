"""The extractive reader: answers in the documents' own words, with no model but the encoder.

For a question q and sentence s of the passages,

    score = (likeness(q, s) + likeness(q, s with its predecessor)) / 4 + (cover(q, s) + 3/10 cover(q, neighbours)) / 2

less one hundredth for each rank of its passage; likeness is cosine on the encoder's measured scale
(`pipelines/answering/likeness.py`), cover the idf-weighted share of the question's words. The mean of two vectors
stands for "s with its predecessor", so that each sentence is encoded once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.following import followed
from fovea.pipelines.answering.likeness import cover, likeness, weights
from fovea.pipelines.answering.naming import speak_of
from fovea.pipelines.answering.passages import Passage, read
from fovea.pipelines.answering.quoting import Quotation, joined, quotations, taken
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.generation import Generator
from fovea.rag.stems import stems
from fovea.rag.types import Answer, Citation, Hit, Query, Sentence

if TYPE_CHECKING:
    import numpy as np

NEIGHBOURS, RANK = 0.3, 0.01
LONGEST_HEADING = 80
"""Characters."""
_STOPS = ".!…。！:：;；"
_MARKED = re.compile(r"(?:\A|\n)[ \t]*(?:\||[-*+•][ \t]|\(?(?:\d{1,3}(?:\.\d{1,3})*|[a-z])[.)])[ \t]*\Z")
"""What stands before an item of a list or a row of a table."""
_HEADS_TABLE = re.compile(r"[ \t|]*\r?\n[ \t]*\|?[ \t]*:?-+:?[ \t]*\|")
"""What stands behind the row that heads a table."""
_BREAK = re.compile(r"[ \t]*(?:\r?\n[ \t]*){2}")
_NUMBERED = re.compile(r"\n\s*\d{1,3}(?:\.\d+)*\.?$")  # a title line that runs into the number of the next heading


class ExtractiveGenerator(Generator, name="extractive"):
    """Quotes the sentences that answer best: at most `max_sentences`, in reading order inside a document.

    Says that the documents do not answer where no sentence reaches `floor`, or where no document that came back holds
    what the question names: a name (in an English question), a year, a numbered section, what it quotes. O(sentences)
    encodings a question.
    """

    max_sentences: PositiveInt = 3
    """The most sentences of an answer."""

    floor: float = Field(default=0.4, ge=0, le=1)
    """The least score of an answer's best sentence; 0 answers whatever comes back."""

    share: float = Field(default=0.75, ge=0, le=1)
    """The other sentences must reach this share of the best one's score."""

    repeats: float = Field(default=0.9, ge=0, le=1)
    """A sentence whose likeness to a chosen one reaches this says nothing new, and is left out."""

    candidates: PositiveInt = 80
    """How many sentences are read with the encoder; of more, those that hold most of the question's words."""

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The chosen sentences in plain words, one a piece."""
        yield from joined(chosen) if (chosen := self.quote(query.text, hits, corpus)) else [NO_ANSWER]

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """Each sentence with the very places it was taken from."""
        found = taken(text, quotations(read(hits, corpus)))
        if found is None:
            return cite(text, hits, corpus, question=query.text)
        said = [Sentence(start, end, text[start:end], _cited(group)) for start, end, group in found]
        return Answer(text, tuple(said), tuple(hits))

    def choose(self, question: str, hits: Sequence[Hit], corpus: Corpus) -> list[Passage]:
        """The passages that `quote` quotes."""
        return [quotation.passage for quotation in self.quote(question, hits, corpus)]

    def quote(self, question: str, hits: Sequence[Hit], corpus: Corpus) -> list[Quotation]:
        """The sentences of the answer, in the order in which they are said; none if nothing reaches the floor."""
        quoted = quotations(read(hits, corpus))
        asked, everything = stems(question), [quotation.passage for quotation in quoted]
        texts = [quotation.text if quotation.under else quotation.passage.text for quotation in quoted]
        bags = [stems(text) for text in texts]
        weight = weights(bags)
        covers = _covers(asked, everything, bags, weight)
        told = [i for i, p in enumerate(everything) if bags[i] - asked and _tells(p)]
        kept = sorted(sorted(told, key=lambda i: -covers[i])[: self.candidates])
        trace.current().count(sentences_read=len(kept), sentences_left=len(everything) - len(kept))
        if self.floor and not speak_of(question, everything):
            trace.current().note(no_answer="no document that came back holds what the question names")
            return []
        if not kept:
            trace.current().note(no_answer="the passages hold no sentence that could answer")
            return []
        vectors = corpus.encoder.encode([texts[i] for i in kept])
        likes = _likes(corpus, question, vectors, [everything[i] for i in kept], kept)
        scores = [likes[n] / 2 + covers[i] / 2 - RANK * everything[i].rank for n, i in enumerate(kept)]
        best = max(scores)
        trace.current().note(best=round(float(best), 3))
        if best < self.floor:
            trace.current().note(no_answer=f"the best sentence scores {best:.2f}, the floor is {self.floor}")
            return []
        picked = [kept[n] for n in self._pick(scores, vectors, corpus)]
        picked = followed(question, picked, quoted, frozenset(told), self.max_sentences)
        return _in_order([quoted[n] for n in picked])

    def _pick(self, scores: Sequence[float], vectors: np.ndarray, corpus: Corpus) -> list[int]:
        """Rows of the best sentences that say something new, best first."""
        order = sorted(range(len(scores)), key=lambda n: -scores[n])
        picked = [order[0]]
        for n in order[1:]:
            if len(picked) == self.max_sentences or scores[n] < self.share * scores[order[0]]:
                break
            if likeness(corpus.encoder, vectors[picked] @ vectors[n]).max() < self.repeats:
                picked.append(n)
        return picked


def _tells(passage: Passage) -> bool:
    """Headings name, and questions ask: neither answers. A line by itself without a full stop is a heading too, unless
    it is an item of a list or a row of a table; the row that heads a table names."""
    text = passage.text.rstrip("\"'”’»)]* ")
    if text.startswith("#") or text.endswith(("?", "？", "؟")) or _NUMBERED.search(text):
        return False
    whole, span = passage.document.text, passage.span
    if _MARKED.search(whole[max(0, span.start - 16) : span.start]):
        return not _HEADS_TABLE.match(whole, span.end)
    return text[-1:] in _STOPS or len(text) > LONGEST_HEADING or not _BREAK.match(whole[span.end : span.end + 8])


def _covers(
    asked: frozenset[str], passages: Sequence[Passage], bags: Sequence[frozenset[str]], weight: Mapping[str, float]
) -> list[float]:
    """How much of the question each sentence holds, with what only its neighbours hold at a lower rate."""
    found = []
    for i, bag in enumerate(bags):
        around = bags[i - 1] if passages[i].follows else frozenset()
        if i + 1 < len(bags) and passages[i + 1].follows:
            around = around | bags[i + 1]
        found.append(cover(asked, bag, weight) + NEIGHBOURS * cover(asked, around - bag, weight))
    return found


def _likes(
    corpus: Corpus, question: str, vectors: np.ndarray, passages: Sequence[Passage], kept: Sequence[int]
) -> np.ndarray:
    """`(sentences,)`: likeness to the question, the mean of a sentence's own and that with its predecessor."""
    import numpy as np

    asked, pairs = corpus.embed(question), vectors.copy()
    for n in range(1, len(passages)):
        if passages[n].follows and kept[n] == kept[n - 1] + 1:
            pairs[n] += vectors[n - 1]
    pairs /= np.maximum(np.linalg.norm(pairs, axis=1, keepdims=True), 1e-9)
    return likeness(corpus.encoder, (vectors @ asked + pairs @ asked) / 2)


def _in_order(picked: Sequence[Quotation]) -> list[Quotation]:
    """Documents by their best sentence, sentences as they are read."""
    first = {q.passage.document.id: i for i, q in reversed(list(enumerate(picked)))}
    return sorted(picked, key=lambda q: (first[q.passage.document.id], q.passage.span.start))


def _cited(group: Sequence[Quotation]) -> tuple[Citation, ...]:
    """The passages of one piece of the answer, then what they stand under."""
    places = [list(quotation.citations()) for quotation in group]
    return tuple(dict.fromkeys([*(own for own, *_ in places), *(c for _, *above in places for c in above)]))
