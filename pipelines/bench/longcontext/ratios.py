"""Ratios of medians with their intervals: steps are drawn again with those that ran beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Interval = tuple[float, float, float]


def ratio(over: Sequence[float], under: Sequence[float]) -> Interval:
    """median(over) / median(under) with its 95 % percentile bootstrap interval; the two are paired."""
    return bootstrap(lambda a, b: np.median(a, axis=-1) / np.median(b, axis=-1), over, under)


def share(full: Sequence[float], ours: Sequence[float], near: Sequence[float]) -> Interval:
    """(full - ours) / (full - near) of medians: the part of the greatest possible gain that a method makes."""

    def of(f: np.ndarray, o: np.ndarray, n: np.ndarray) -> np.ndarray:
        f, o, n = (np.median(each, axis=-1) for each in (f, o, n))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((f - o) / (f - n))

    return bootstrap(of, full, ours, near)


def bootstrap(
    statistic: Callable[..., np.ndarray], *columns: Sequence[float], draws: int = 2000, seed: int = 0
) -> Interval:
    """A statistic of paired columns, and the 2.5th and 97.5th percentile of it over rows drawn with replacement.

    `statistic` reduces the last axis. O(draws * rows).
    """
    table = np.asarray(columns, np.float64)
    picked = table[:, np.random.default_rng(seed).integers(0, table.shape[1], (draws, table.shape[1]))]
    low, high = np.nanquantile(statistic(*picked), [0.025, 0.975])
    return float(statistic(*table)), float(low), float(high)
