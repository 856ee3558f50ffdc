"""SAGE's gradient selection: go down the list until the score falls sharply (Zhang, Li and Su, 2025, "SAGE: A Framework
of Precise Retrieval for RAG").

    K = min_k;  while K < n and not sharp(p_K, p_K+1): K = K + 1

    keep_ratio   sharp: p_K+1 < g p_K
    ratio        sharp: p_K+1 < (1 - g) p_K
    difference   sharp: p_K - p_K+1 > g (p_1 - p_n)

The rule was made for re-rankers that put what answers near 1 and the rest near 0. Where probabilities fall smoothly,
the ratio of two neighbours is mostly noise, and `mass` keeps more of the evidence for the same tokens
(`benchmarks/selection.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from fovea.retrievers.selection import PrefixSelection


class GradientSelection(PrefixSelection, name="gradient"):
    """Keeps the first `min_k` hits, and goes on until a score falls sharply from the one before it."""

    min_k: PositiveInt = 7
    """How many hits are kept before falls are looked at."""
    g: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """How sharp a fall ends the selection, in the sense of `mode`."""
    mode: Literal["keep_ratio", "ratio", "difference"] = "keep_ratio"
    """`keep_ratio`: a score under `g` times the one before; `ratio`: one lower by more than a share `g` of the one
    before; `difference`: one lower by more than a share `g` of the difference of best and last."""

    def cut(self, scores: Sequence[float]) -> int:
        """The first K from `min_k` after which the score falls sharply; n where none does. O(n)."""
        for k in range(self.min_k, len(scores)):
            if self._sharp(scores, k):
                return k
        return len(scores)

    def check(self, scores: Sequence[float]) -> None:
        """Raise QueryError for a score that is not finite, and in the ratio modes for one that is not over 0."""
        super().check(scores)
        for rank, score in enumerate(scores, 1):
            if self.mode != "difference" and score <= 0:
                raise self.unreadable(score, rank, f"ratios of scores over 0 (mode: {self.mode})")

    def reason(self, scores: Sequence[float], k: int, rank: int) -> str:
        """The fall that ended the selection."""
        return f"after the fall from {scores[k - 1]:.3g} to {scores[k]:.3g}"

    def doubts(self, scores: Sequence[float], k: int) -> Iterator[str]:
        """Also where there was no fall to be seen."""
        known = list(super().doubts(scores, k))
        yield from known
        if not known and self.cut(scores) == len(scores):
            limit = "max_k" if self.max_k else "the number of hits"
            yield f"no score falls sharply from the one before it: {limit} decided"

    def _sharp(self, scores: Sequence[float], k: int) -> bool:
        before, after = scores[k - 1], scores[k]
        if self.mode == "keep_ratio":
            return after < self.g * before
        if self.mode == "ratio":
            return after < (1 - self.g) * before
        return before - after > self.g * (scores[0] - scores[-1])
