"""Selection: keeps as many of the best passages as their probabilities say, a number that differs by question.

A rule looks at the falling probabilities `p_1 >= p_2 >= ... >= p_n`. What it cannot know from them (that equal scores
are copies of one text, that everything scores alike) is a counted warning.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, Self

from pydantic import PositiveInt, model_validator

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import QueryError
from fovea.rag.retrieval import Refiner
from fovea.rag.tokens import words
from fovea.rag.types import Hit, Query

PLATEAU = 0.02
"""Neighbours in rank whose probabilities differ by at most this share stand on one plateau."""
SATURATED = 0.99
"""Where every probability is at least this, they say nothing of which passage is better."""


class Selection(Refiner):
    """Keeps K of the hits, by falling probability and equal ones in the order given: `min_k <= K <= max_k`."""

    needs: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    gives: ClassVar[frozenset[str]] = frozenset({"selection"})

    min_k: PositiveInt = 1
    """How many hits are kept whatever their probabilities."""
    max_k: PositiveInt | None = None
    """The most hits that are kept; left out, all may be."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.max_k is not None and self.max_k < self.min_k:
            raise ValueError(f"max_k ({self.max_k}) must not be under min_k ({self.min_k})")
        return self

    @abstractmethod
    def verdicts(self, ranked: Sequence[Hit], corpus: Corpus) -> list[str]:
        """For each of the hits, which fall in score, why it is not kept; empty for those that are."""

    def doubts(self, scores: Sequence[float], k: int) -> Iterator[str]:
        """What the rule could not tell from these scores, of which it kept `k`; none of at most `min_k` scores."""
        if min(scores) >= SATURATED:
            yield f"all probabilities are at least {SATURATED:g}: they do not say how many passages are needed"
        elif scores[0] <= scores[-1]:
            yield "all probabilities are the same: they do not say how many passages are needed"

    def check(self, scores: Sequence[float]) -> None:
        """Raise QueryError for scores that are no probabilities: negative, or not finite."""
        for rank, score in enumerate(scores, 1):
            if not (math.isfinite(score) and score >= 0):
                raise self.unreadable(score, rank)

    def unreadable(self, score: float, rank: int, allowed: str = "scores from 0") -> QueryError:
        """The error for one score."""
        return QueryError(
            f"{self.name}: the hit at rank {rank} has the score {score:g}; the rule reads {allowed}",
            fix="put a stage that gives probabilities right before it, such as reranker or cross_encoder",
        )

    def moved(self, steps: int) -> Self | None:
        """The same rule, more generous by so many steps (stricter if negative): `min_k` moves by one a step. None
        beyond the bounds of what moves.
        """
        to = self.min_k + steps
        if to < 1 or to > (self.max_k or to):
            return None
        return self.model_copy(update={"min_k": to})

    @property
    def position(self) -> dict[str, float]:
        """The setting that `moved` moves, for the trace."""
        return {"min_k": self.min_k}

    def over(self) -> str:
        """Why a hit goes that the rule itself would keep."""
        return f"below the first {self.max_k}, the most that are kept"

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The hits that are kept, by falling score. O(n log n), and the words of the hits for a warning of copies."""
        ranked = sorted(hits, key=lambda hit: -hit.score)
        why = self.verdicts(ranked, corpus)
        kept = [hit for hit, reason in zip(ranked, why) if not reason]
        for hit, reason in zip(ranked, why):
            if reason:
                trace.current().drop(hit, reason)
        if len(ranked) > self.min_k:
            for doubt in self.doubts([float(hit.score) for hit in ranked], len(kept)):
                trace.warn(f"{self.name}: {doubt}")
        if copies := _copies(kept):
            trace.warn(
                f"{self.name}: passages that repeat a better one count twice; put near_duplicates before", copies
            )
        return kept


class PrefixSelection(Selection):
    """A rule that keeps the first K hits, by their probabilities alone."""

    @abstractmethod
    def cut(self, scores: Sequence[float]) -> int:
        """How many of the falling `scores` the rule itself keeps, before `min_k` and `max_k`."""

    @abstractmethod
    def reason(self, scores: Sequence[float], k: int, rank: int) -> str:
        """Why the hit at `rank` (from 0) is not among the first `k`."""

    def count(self, scores: Sequence[float]) -> int:
        """K for falling `scores`; raises QueryError for a score that the rule cannot read."""
        self.check(scores)
        most = min(len(scores), self.max_k or len(scores))
        return max(min(self.min_k, most), min(self.cut(scores), most)) if scores else 0

    def verdicts(self, ranked: Sequence[Hit], corpus: Corpus) -> list[str]:
        """Nothing for the first K, a reason for the others."""
        scores = [float(hit.score) for hit in ranked]
        k = self.count(scores)
        over = bool(scores) and k == self.max_k and self.cut(scores) > k
        return [""] * k + [self.over() if over else self.reason(scores, k, rank) for rank in range(k, len(scores))]


def _copies(seen: Sequence[Hit]) -> int:
    """How many hits stand on a plateau with a better one whose words they repeat, or with which they share more than
    half of the shorter one's characters. O(words + plateau^2).
    """
    texts = [words(hit.chunk.text) for hit in seen]
    found, start = 0, 0
    for i, hit in enumerate(seen):
        if i and hit.score < (1 - PLATEAU) * seen[i - 1].score:
            start = i
        found += any(_repeats(hit, seen[j]) or texts[i] == texts[j] != [] for j in range(start, i))
    return found


def _repeats(hit: Hit, better: Hit) -> bool:
    a, b = hit.chunk, better.chunk
    shared = min(a.end, b.end) - max(a.start, b.start)
    return a.document_id == b.document_id and 2 * shared > min(a.end - a.start, b.end - b.start)
