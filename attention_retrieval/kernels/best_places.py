"""Where the k largest of some numbers are, by counting: no heap, and hardly a branch that a processor must guess."""

from __future__ import annotations

import numpy as np
from numba import njit

BINS = 512
"""Steps between the smallest number and the largest. Of 2,000 numbers few share the step in which the k-th lies."""


@njit(nogil=True, cache=True)
def best_places(numbers: np.ndarray, k: int) -> np.ndarray:
    """The places of the k largest of float32 `numbers`, (n,), best first; those of NaN and minus infinity are none.

    Numbers are counted by the step they lie in; what lies in the steps from the top down to the k-th is sorted. O(n),
    and O(n log n) where one number lies so far off that the others share a step.
    """
    low, high, odd = np.float32(np.inf), np.float32(-np.inf), 0
    for n in range(numbers.shape[0]):
        x = numbers[n]
        low = x if x < low else low
        high = x if x > high else high
        odd += (x - x) != 0
    if odd > 0 or not np.isfinite(high - low):  # not all are finite, or there are none
        real = np.flatnonzero(numbers > -np.inf)
        return real[np.argsort(-numbers[real])][:k]
    scale, many = np.float32(BINS - 1) / max(high - low, np.float32(1e-30)), np.zeros(BINS, np.int32)
    for n in range(numbers.shape[0]):
        many[step_of(numbers[n], low, scale)] += 1
    edge, seen = BINS - 1, many[BINS - 1]
    while seen < k and edge > 0:
        edge -= 1
        seen += many[edge]
    near, size, least = np.empty(numbers.shape[0] + 1, np.int64), 0, np.uint32(edge)
    for n in range(numbers.shape[0]):
        near[np.uint64(size)] = n
        size += step_of(numbers[n], low, scale) >= least
    near = near[:size]
    return near[np.argsort(-numbers[near])][:k]


@njit(nogil=True, inline="always")
def step_of(x: np.floating, low: np.floating, scale: np.floating) -> np.uint32:
    """Which step a finite number lies in, from 0 to BINS - 1."""
    return np.uint32((x - low) * scale)
