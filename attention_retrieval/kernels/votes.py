"""Votes: how many of the weighted training queries want each key, and the keys with most of them."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST

TABLE = 1 << 13
"""Rows whose votes are counted at a time."""
BITS = 18
"""Votes are ranked by the upper bits of their float32: its exponent and five bits more, so to 3 %."""


@njit(nogil=True, cache=True)
def subset_sums(weights: np.ndarray, low: int, out: np.ndarray) -> None:
    """out[s] = sum of weights[low + i] over the bits i of s, for all 256 s."""
    out[0] = 0
    for i in range(8):
        half = 1 << i
        for s in range(half):
            out[half + s] = out[s] + weights[low + i]


@njit(nogil=True, cache=True, fastmath=FAST)
def tally(
    cells: np.ndarray,
    weights: np.ndarray,
    steps: np.ndarray,
    masks: np.ndarray,
    counts: np.ndarray,
    stop: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The keys before row `stop` that the cells (n,) list, each once, and its votes: weights (n, 16) of who wants it.

    Cells list keys in ascending order, so all of them go through the keys together, 8,192 rows at a time: the votes of
    so many rows are a table that stays in the near caches, whatever the number of keys. A key is named where its votes
    become positive, without a branch that a processor would have to guess.
    """
    many = cells.shape[0]
    lower, upper, total = np.empty((many, 256), np.float32), np.empty((many, 256), np.float32), 0
    for n in range(many):
        subset_sums(weights[n], 0, lower[n])
        subset_sums(weights[n], 8, upper[n])
        total += counts[cells[n]]
    at, reached, here = np.zeros(many, np.int64), np.zeros(many, np.int64), np.zeros(TABLE, np.float32)
    keys, votes, size = np.empty(total + 1, np.int32), np.empty(total + 1, np.float32), 0
    for base in range(0, stop, TABLE):
        first = size
        for n in range(many):
            step, row, low, high = steps[cells[n]], masks[cells[n]], lower[n], upper[n]
            e, key, count = at[n], reached[n], counts[cells[n]]
            while e < count and key + step[np.uint64(e)] < base + TABLE:
                key += step[np.uint64(e)]
                who, place = np.uint64(row[np.uint64(e)]), np.uint64(key - base)
                vote, before = low[who & np.uint64(255)] + high[who >> np.uint64(8)], here[place]
                keys[np.uint64(size)] = key
                size += (before == 0) & (vote > 0)
                here[place] = before + vote
                e += 1
            at[n], reached[n] = e, key
        for n in range(first, size):
            votes[n] = here[keys[n] - base]
            here[keys[n] - base] = 0
    return keys[:size], votes[:size]


@njit(nogil=True, cache=True)
def most_wanted(keys: np.ndarray, votes: np.ndarray, budget: int, doubt: float) -> np.ndarray:
    """The keys with most votes: at most `budget`, and no more than leave out `doubt` of all votes."""
    if keys.shape[0] == 0 or budget <= 0:
        return keys[:0]
    ranks = votes.view(np.uint32) >> np.uint32(BITS)
    sums, many = np.zeros(1 << (32 - BITS), np.float32), np.zeros(1 << (32 - BITS), np.int32)
    highest, total = 0, np.float32(0)
    for n in range(keys.shape[0]):
        rank = np.int64(ranks[n])
        sums[rank] += votes[n]
        many[rank] += 1
        total += votes[n]
        highest = max(highest, rank)
    rank, taken, mass, enough = highest, 0, np.float32(0), total * np.float32(1 - doubt)
    while rank >= 0 and mass < enough and taken + many[rank] <= budget:
        taken += many[rank]
        mass += sums[rank]
        rank -= 1
    rest = budget - taken if rank >= 0 and mass < enough else 0
    picked, size = np.empty(min(taken + rest, keys.shape[0]), np.int32), 0
    for n in range(keys.shape[0]):
        here = np.int64(ranks[n])
        if here > rank or (here == rank and rest > 0):
            if here == rank:
                rest -= 1
            picked[size] = keys[n]
            size += 1
    return picked[:size]
