"""Value: a mean over questions with its interval, and of how many questions it could be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

Direction = Literal["maximise", "minimise"]
DRAWS = 2000


@dataclass(frozen=True)
class Value:
    """A mean over questions with its 95 % bootstrap interval: of `n` questions where it could be had, of `of`."""

    mean: float
    low: float
    high: float
    n: int
    of: int


def means(columns: Mapping[str, Sequence[float]], of: Mapping[str, int]) -> dict[str, Value]:
    """The Value of each column of numbers; a column without any is left out.

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
            found[name] = Value(mean, min(mean, float(a)), max(mean, float(b)), n, of[name])
    return {name: found[name] for name in columns if name in found}


@lru_cache(maxsize=4)
def _counts(n: int) -> np.ndarray:
    """How often each draw takes each of `n` numbers: float64 `(draws, n)`."""
    import numpy as np

    draw = np.random.default_rng(0).integers(0, n, (DRAWS, n))
    return np.stack([np.bincount(row, minlength=n) for row in draw]).astype(np.float64)
