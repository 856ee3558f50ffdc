"""Value: a mean over questions with its interval, and of how many questions it could be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isnan, nan
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Direction = Literal["maximise", "minimise"]
DRAWS = 2000


@dataclass(frozen=True)
class Value:
    """A mean over questions with its 95 % interval: of `n` questions where it could be had, of `of`.

    `low` and `high` are NaN where there is no interval: of one question, and of a number that is the same for all of
    them, save at the ends of a share (`wilson`). `ends` says so with None, as JSON must.
    """

    mean: float
    low: float
    high: float
    n: int
    of: int

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """`(low, high)`, or twice None."""
        return (None, None) if isnan(self.low) else (self.low, self.high)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of which `right` of `n` were seen, `(p + z^2/2n -+ z sqrt(pq/n + z^2/4n^2)) / (1 +
    z^2/n)` (E. B. Wilson, 1927): of 6 of 6 it is [.61, 1], where resampling what was seen can only give 1.
    """
    p, z2 = right / n, 1.959964**2
    middle, around = p + z2 / (2 * n), (z2 * (p * (1 - p) / n + z2 / (4 * n * n))) ** 0.5
    low, high = (middle - around) / (1 + z2 / n), (middle + around) / (1 + z2 / n)
    return max(0.0, low if right else 0.0), min(1.0, high if right < n else 1.0)


def means(columns: Mapping[str, Sequence[float]], of: Mapping[str, int], *, shares: bool = True) -> dict[str, Value]:
    """The Value of each column of numbers; a column without any is left out. Intervals are percentiles of the means of
    resampled columns; where all numbers are 0 or all are 1, of shares (`shares=False` for differences), Wilson's.

    Columns of one length share their draws, those of `fovea.pipelines.evaluation.measurements.interval`. O(draws *
    numbers).
    """
    import numpy as np

    found: dict[str, Value] = {}
    for n in sorted({len(c) for c in columns.values()} - {0}):
        names = [name for name, column in columns.items() if len(column) == n]
        table = np.array([columns[name] for name in names], np.float64).T
        low, high = np.quantile(_counts(n) @ table / n, [0.025, 0.975], axis=0)
        for name, column, a, b in zip(names, table.T, low, high):
            mean = float(column.mean())
            ends = min(mean, float(a)), max(mean, float(b))
            if n == 1 or (column == column[0]).all():
                ends = wilson(round(mean) * n, n) if n > 1 and shares and mean in (0, 1) else (nan, nan)
            found[name] = Value(mean, *ends, n, of[name])
    return {name: found[name] for name in columns if name in found}


@lru_cache(maxsize=4)
def _counts(n: int) -> np.ndarray:
    """How often each draw takes each of `n` numbers: float64 `(draws, n)`."""
    import numpy as np

    draw = np.random.default_rng(0).integers(0, n, (DRAWS, n))
    return np.stack([np.bincount(row, minlength=n) for row in draw]).astype(np.float64)
