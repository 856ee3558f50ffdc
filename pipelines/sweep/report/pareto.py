"""The Pareto front: the trials that no other one beats in everything that is wanted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.pipelines.sweep.record import Direction, Record, TrialRecord
from fovea.pipelines.sweep.report.ranking import direction, value


def front(points: np.ndarray, directions: Sequence[Direction]) -> list[int]:
    """The rows of `points` (n, m), finite numbers, that no other row dominates, in rising order.

    A row dominates another that is nowhere better and somewhere worse. So equal rows are on the front together or not
    at all. O(n log n) for one or two columns, O(n * front) comparisons of m numbers for more.
    """
    least = np.where([d == "maximise" for d in directions], -1.0, 1.0) * np.asarray(points, np.float64)
    if len(least) == 0:
        return []
    return _swept(least) if least.shape[1] <= 2 else _compared(least)


def _swept(least: np.ndarray) -> list[int]:
    """Rows by rising first column: a row stays whose last column is under all of smaller first columns."""
    found: list[int] = []
    order, under = np.lexsort(least.T[::-1]), np.inf
    for at in order:
        if least[at, -1] < under or (found and (least[at] == least[found[-1]]).all()):
            found.append(int(at))
            under = least[at, -1]
    return sorted(found)


def _compared(least: np.ndarray) -> list[int]:
    """Rows in lexical order, in which none comes after one that it dominates, each against the front so far."""
    found: list[int] = []
    for at in np.lexsort(least.T[::-1]):
        above = least[found]
        if not ((above <= least[at]).all(1) & (above < least[at]).any(1)).any():
            found.append(int(at))
    return sorted(found)


def pareto(record: Record, metrics: Sequence[str] = ()) -> list[TrialRecord]:
    """The complete trials on the front over `metrics`, the objectives by default; one that lacks any is not asked."""
    names = list(metrics or record.objectives)
    rows = [(trial, [value(trial, m) for m in names]) for trial in record.complete]
    whole = [(trial, row) for trial, row in rows if None not in row]
    points = np.array([row for _, row in whole], np.float64).reshape(len(whole), len(names))
    return [whole[i][0] for i in front(points, [direction(record, m) for m in names])] if names else []
