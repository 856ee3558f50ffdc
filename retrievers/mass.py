"""Selection by probability mass: the fewest passages that hold a given share of all the probability.

    K = min { k : p_1 + ... + p_k >= target (p_1 + ... + p_n) }

If exactly one passage answers and the probabilities are calibrated up to a factor, it is among the first K with
probability `target`: K is small where the re-ranker is sure and grows where it is not. (Fan, Lewis and Dauphin, 2018,
cut the next-word distribution in this way; Holtzman et al., 2020, "The curious case of neural text degeneration".)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Annotated, Self

from pydantic import Field

from fovea.retrievers.selection import PrefixSelection

STEP = 0.05
"""How far one step of feedback moves the target."""


class MassSelection(PrefixSelection, name="mass"):
    """Keeps the smallest number of best hits that together hold the share `target` of all hits' probability."""

    target: Annotated[float, Field(gt=0, le=1)] = 0.8
    """The share of the probability that is kept."""

    def cut(self, scores: Sequence[float]) -> int:
        """The smallest K whose mass reaches the target; n where there is no mass at all. O(n)."""
        total = sum(scores)
        wanted = self.target * total * (1 - 1e-12)  # The sum of all in another order may be a bit less.
        reached = (k for k, mass in enumerate(accumulate(scores), 1) if mass >= wanted)
        return next(reached, len(scores)) if total > 0 else len(scores)

    def reason(self, scores: Sequence[float], k: int, rank: int) -> str:
        """The share that is held without it."""
        return f"the first {k} hold {sum(scores[:k]) / (sum(scores) or 1):.1%} of the probability"

    def doubts(self, scores: Sequence[float], k: int) -> Iterator[str]:
        """Also where there is nothing to share out."""
        if sum(scores) <= 0:
            yield "all probabilities are 0: they do not say how many passages are needed"
        else:
            yield from super().doubts(scores, k)

    def moved(self, steps: int) -> Self | None:
        """The target moves by 0.05 a step, within (0, 1]; a target between steps ends at 1."""
        to = round(self.target + STEP * steps, 9)
        if steps > 0 and to > 1 and to - STEP < 1 - 1e-9:
            to = 1.0
        return self.model_copy(update={"target": to}) if 0 < to <= 1 else None

    @property
    def position(self) -> dict[str, float]:
        """The target."""
        return {"target": self.target}
