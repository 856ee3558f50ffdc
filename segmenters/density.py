"""Ranks of similarities, and the divisive clustering of C99 over them. F. Y. Y. Choi, "Advances in domain independent
linear text segmentation" (2000).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fovea.segmenters.decode import STEP

MASK = 11
"""Rows and columns of the neighbourhood that a similarity is ranked in."""
SMOOTHING = np.array([1, 2, 4, 8, 4, 2, 1])


class Splits(NamedTuple):
    """All splits of a text, in the order they were made."""

    gaps: np.ndarray
    """int64 `(gaps,)`."""
    gains: np.ndarray
    """What each added to the inside density: float64 `(gaps,)`."""


def ranks(similarity: np.ndarray, mask: int = MASK) -> np.ndarray:
    """The share of the cells around each cell, within `mask` by `mask`, that are lower: float32 `(n, n)` in [0, 1].

    Cells past the edge do not count. O(n^2 * mask^2).
    """
    n, half = len(similarity), mask // 2
    steps = np.rint(np.clip(similarity, -1.5, 1.5) / STEP).astype(np.int16)
    around = np.pad(steps, half, constant_values=np.iinfo(np.int16).max)
    lower = np.zeros((n, n), np.uint16)
    for a in range(mask):
        for b in range(mask):
            lower += around[a : a + n, b : b + n] < steps
    at = np.arange(n)
    within = np.minimum(at, half) + np.minimum(n - 1 - at, half) + 1
    return lower / np.maximum(np.outer(within, within) - 1, 1).astype(np.float32)


def divide(rank: np.ndarray, first: np.ndarray) -> Splits:
    """Split until every unit stands alone, each time where the inside density grows most:

        D = sum of the segments' rank sums / sum of their areas

    `rank` is symmetric. The gaps of `first`, bool `(gaps,)`, are split before the others. O(n^2), a dozen array
    operations a split.
    """
    n = len(rank)
    corner = np.pad(rank.cumsum(0, np.float64).cumsum(1), [(1, 0), (1, 0)])
    diagonal, at = corner.diagonal(), np.arange(n + 1.0)
    low, high = np.zeros(n - 1, np.int64), np.full(n - 1, n)
    sums, areas = np.zeros(n - 1), np.zeros(n - 1)

    def weigh(a: int, b: int) -> None:
        """What splitting the segment [a, b) at each of its gaps does to the sum and to the area."""
        # C being symmetric, the sum of the square [a, m) is C[m, m] - 2 C[a, m] + C[a, a].
        here, m = slice(a, b - 1), slice(a + 1, b)
        sums[here] = 2 * (diagonal[m] - corner[a, m] - corner[b, m] + corner[a, b])
        areas[here] = 2 * (at[m] - a) * (at[m] - b)
        low[here], high[here] = a, b

    weigh(0, n)
    total, area = float(diagonal[n]), float(n * n)
    order, gains = np.zeros(n - 1, np.int64), np.zeros(n - 1)
    barred, early = np.where(first, 0.0, -np.inf), int(first.sum())
    for k in range(n - 1):
        if k == early:
            barred = np.where(first, -np.inf, 0.0)
        g = int(((total + sums) / (area + areas) + barred).argmax())
        before, a, b = total / area, int(low[g]), int(high[g])
        total, area = total + float(sums[g]), area + float(areas[g])
        order[k], gains[k], barred[g] = g, total / area - before, -np.inf
        sums[g] = areas[g] = 0
        for start, stop in ((a, g + 1), (g + 1, b)):
            if stop - start > 1:
                weigh(start, stop)
    return Splits(order, gains)


def worthwhile(gains: np.ndarray, deviations: float) -> int:
    """How many of the first splits to keep: all up to the last with a smoothed gain over mean + deviations * sd.

    Gains are smoothed by the weights 1 2 4 8 4 2 1, as the author's program does. That program stops at the first gain
    under the threshold; but it takes two splits to set a segment apart, and the first of them often gains little.
    """
    if not len(gains):
        return 0
    half = len(SMOOTHING) // 2

    def spread(values: np.ndarray) -> np.ndarray:
        return np.convolve(values, SMOOTHING)[half : half + len(values)]

    smooth = spread(gains) / spread(np.ones(len(gains)))
    above = np.flatnonzero(smooth > smooth.mean() + deviations * smooth.std())
    return int(above[-1]) + 1 if len(above) else 0
