"""Citing: which spans of the documents stand behind each sentence of an answer, whoever wrote it.

A sentence of the answer, or each clause of it, rests on a sentence of the passages (and on the one before, where that
names what a pronoun means) if

- they agree in numbers, names and what they deny (`pipelines/answering/claims.py`), and
- `(likeness + cover) / 2` reaches `THRESHOLD`: likeness is cosine on the encoder's measured scale, cover the
  idf-weighted share of the claim's words which it holds.

A marker like [2] is a hint, never a proof: it prefers the passage, but the sentence is still checked. So is where the
model looked while it wrote (`pipelines/answering/looks.py`): sentences that got much are tried too, and preferred among
those that pass. A sentence that nothing supports stays without citations. This compares words, numbers and likeness; it
does not reason.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fovea.pipelines.answering.claims import Claim, agrees, bag, clauses, matter, refers
from fovea.pipelines.answering.likeness import cover, likeness, weights
from fovea.pipelines.answering.markers import unmarked
from fovea.pipelines.answering.passages import read, under
from fovea.pipelines.answering.reasoning import split
from fovea.pipelines.answering.refusals import asserted
from fovea.rag.corpus import Corpus
from fovea.rag.look import Look
from fovea.rag.sentences import sentences
from fovea.rag.types import Answer, Citation, Hit, Sentence, Span

if TYPE_CHECKING:
    import numpy as np

THRESHOLD = 0.5
"""Support from which a sentence counts as supported; `benchmarks/reader.py` shows what it lets through."""
COVER = 0.35
"""The least share of a claim's words, by weight, that its evidence holds."""
SEEDS = 5
"""How many sentences are tried as evidence for one claim."""
MARKED = 0.1
"""What a marker adds when candidates are put in order; it adds nothing to the support."""
LOOKED = 0.3
"""What attention adds then, times a sentence's share of it."""
SHORT = 4
"""A claim of fewer telling words is read together with the question, and its evidence must hold each of them."""
BACK = 3
"""How many sentences back the meaning of a pronoun is looked for."""
READ = 40
"""How many sentences are compared with each claim; of more, those that hold most of its words."""


def cite(
    text: str,
    hits: Sequence[Hit],
    corpus: Corpus,
    *,
    question: str = "",
    looks: Callable[[Answer], Sequence[Look]] | None = None,
) -> Answer:
    """The answer `text` without its markers, sentence by sentence with the evidence found in `hits`; what the model
    thought before it is kept apart. `looks` says where the model looked while it wrote; it is asked once, about the
    answer without citations, if that asserts anything.

    O(claims * sentences of the hits) inner products, and one encoding of each.
    """
    reasoning, text = split(text)
    text, marks = unmarked(text, len(hits), [hit.chunk.text for hit in hits])
    spans = sentences(text)
    said = [Sentence(s.start, s.end, text[s.start : s.end], ()) for s in spans]
    answer = Answer(text, tuple(said), tuple(hits), reasoning=reasoning)
    claims = dict.fromkeys(filter(None, (asserted(s.text) for s in said)))
    looked = {look.start: look.sentences for look in looks(answer)} if looks and hits and claims else {}
    evidence = _Evidence(claims, question, hits, corpus, [c for each in looked.values() for c in each])
    cited = (
        replace(s, citations=evidence.of(asserted(s.text), marked, looked.get(s.start, ())))
        for s, marked in zip(said, _marked(spans, marks))
    )
    return replace(answer, sentences=tuple(cited))


def _marked(spans: Sequence[Span], marks: Sequence[tuple[int, int]]) -> list[frozenset[int]]:
    """The passages named inside each sentence or right after it."""
    named: list[set[int]] = [set() for _ in spans]
    for place, passage in marks:
        if (n := bisect_right(spans, place, key=lambda span: span.start)) > 0:
            named[n - 1].add(passage)
    return [frozenset(each) for each in named]


@dataclass(frozen=True, slots=True)
class _Part:
    """What needs evidence: a sentence of the answer or a clause of it. `asked` is what cover is taken over."""

    claim: Claim
    text: str
    asked: frozenset[str]

    @classmethod
    def of(cls, text: str, question: str) -> _Part:
        claim = Claim.of(text)
        if question and 0 < len(claim.words) < SHORT:
            return cls(claim, f"{question} {text}", claim.words | matter(question))
        return cls(claim, text, claim.words)


class _Evidence:
    """The sentences of the passages, and how each stands to each part of the answer."""

    def __init__(
        self,
        claims: Iterable[str],
        question: str,
        hits: Sequence[Hit],
        corpus: Corpus,
        looked: Sequence[Citation] = (),
    ) -> None:
        self.parts = {t: _Part.of(t, question) for c in claims for t in [c, *clauses(c)]}
        self.question, self.given = question, bag(question)
        self.passages = read(hits, corpus)
        self.around = [f"{h.chunk.text} {h.chunk.title} {h.chunk.source}" for h in hits]
        self.bags = [bag(p.text) for p in self.passages]
        self.weight = weights(self.bags)
        self.covers = {t: [cover(p.asked, bag, self.weight) for bag in self.bags] for t, p in self.parts.items()}
        self.known: dict[tuple[str, frozenset[int], tuple[Citation, ...]], tuple[Citation, ...]] = {}
        self.likes = self._likes(corpus, under(looked, self.passages)) if self.passages and self.parts else {}

    def _likes(self, corpus: Corpus, looked: Iterable[int]) -> dict[str, np.ndarray]:
        """For each part `(sentences,)`; -1 for sentences that hold too little of any part to be read closely."""
        import numpy as np

        near = {n for row in self.covers.values() for n in sorted(range(len(row)), key=lambda n: -row[n])[:READ]}
        kept = sorted(near.union(looked))
        vectors = corpus.encoder.encode([self.passages[n].text for n in kept])
        asked = corpus.encoder.encode([p.text for p in self.parts.values()], role="query")
        likes = np.full((len(self.parts), len(self.passages)), -1.0)
        likes[:, kept] = likeness(corpus.encoder, asked @ vectors.T)
        return dict(zip(self.parts, likes))

    def of(self, claim: str, marked: frozenset[int], looked: tuple[Citation, ...] = ()) -> tuple[Citation, ...]:
        """Evidence for the sentence as a whole, or for each of its clauses; nothing if any has none. A sentence that
        asserts nothing rests on nothing."""
        if not claim:
            return ()
        if (key := (claim, marked, looked)) not in self.known:
            shares = under(looked, self.passages)
            found = [self._for(claim, marked, shares)] if self.passages else []
            if found == [()]:
                found = [self._for(part, marked, shares) for part in clauses(claim)]
            self.known[key] = tuple(dict.fromkeys(c for f in found for c in f)) if all(found) else ()
        return self.known[key]

    def _for(self, text: str, marked: frozenset[int], looked: Mapping[int, float]) -> tuple[Citation, ...]:
        part, passages = self.parts[text], self.passages
        support = [(float(x) + c) / 2 for x, c in zip(self.likes[text], self.covers[text])]
        worth = [s + MARKED * (p.rank in marked) for s, p in zip(support, passages)]
        tried = {*sorted(range(len(passages)), key=lambda n: -worth[n])[:SEEDS], *looked}
        order = sorted(tried, key=lambda n: (-worth[n] - LOOKED * looked.get(n, 0.0), n))
        for n in order if part.claim.words else ():
            pieces = self._with_referent(part.claim, n)
            said = " ".join(passages[i].text for i in pieces)
            around = self.around[passages[n].rank]
            agreed = self._says(part.claim, said) and agrees(part.claim, said, around, self.question)
            if agreed and support[n] >= THRESHOLD:
                return tuple(passages[i].citation(min(1.0, support[n])) for i in pieces)
        return ()

    def _says(self, claim: Claim, evidence: str) -> bool:
        """Whether the evidence shares enough of the words that the claim adds to the question: all of a short one."""
        added = claim.words - self.given or claim.words
        return cover(added, bag(evidence), self.weight) >= (1.0 if len(added) < SHORT else COVER)

    def _with_referent(self, claim: Claim, n: int) -> list[int]:
        """Sentence `n`, and if it has a pronoun but not a name of the claim, the nearest one before it that does."""
        pieces, at = [n], n
        for name in claim.names:
            if self.bags[n].isdisjoint(name) and refers(self.passages[n].text):
                while at > n - BACK and self.passages[at].follows and self.bags[at].isdisjoint(name):
                    at -= 1
                if not self.bags[at].isdisjoint(name):
                    pieces.append(at)
                at = n
        return list(dict.fromkeys(pieces))
