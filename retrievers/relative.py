"""Selection relative to the best: what is not far less likely than the best passage.

keep i  where  p_i >= share * p_1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import Field

from fovea.retrievers.selection import PrefixSelection


class RelativeSelection(PrefixSelection, name="relative"):
    """Keeps the hits whose probability is at least `share` of the best one's.

    Unlike a floor on the score itself, it keeps something for every question, and it does not mind a re-ranker whose
    probabilities are all too high or too low by one factor.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """The share of the best probability that a hit must have."""

    def cut(self, scores: Sequence[float]) -> int:
        """How many scores reach the share. O(n)."""
        return sum(score >= self.share * scores[0] for score in scores)

    def reason(self, scores: Sequence[float], k: int, rank: int) -> str:
        """The share that it has."""
        return f"{scores[rank]:.3g} is under {self.share:g} of the best ({scores[0]:.3g})"

    def doubts(self, scores: Sequence[float], k: int) -> Iterator[str]:
        """Also where none is far less likely than the best."""
        known = list(super().doubts(scores, k))
        yield from known
        if not known and self.cut(scores) == len(scores):
            yield f"no hit is under {self.share:g} of the best: where the list ended decided"
