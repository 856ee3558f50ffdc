"""Votes: how many of the weighted training queries want each key, and the keys with most of them."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.kernels.load import FAST

BITS = 18
"""Votes are ranked by the upper bits of their float32: its exponent and five bits more, so to 3 %."""


@njit(nogil=True, cache=True)
def matching(cells: np.ndarray, weights: np.ndarray, masks: np.ndarray, counts: np.ndarray) -> tuple[int, np.ndarray]:
    """How many entries of the cells will vote, and the mask of the queries with a weight, for each cell."""
    chosen, total = np.zeros(cells.shape[0], np.uint16), 0
    for n in range(cells.shape[0]):
        for i in range(16):
            if weights[n, i] > 0:
                chosen[n] |= np.uint16(1 << i)
        row, mask, many = masks[cells[n]], chosen[n], 0
        for e in range(counts[cells[n]]):
            many += (row[e] & mask) != 0
        total += many
    return total, chosen


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
) -> tuple[np.ndarray, np.ndarray]:
    """The keys that the cells (n,) list, each once, and its votes: the sum of weights (n, 16) of who wants it.

    The table is open addressing over twice as many places as there are entries that vote, so its size goes with what
    was probed and not with how many keys there are.
    """
    total, chosen = matching(cells, weights, masks, counts)
    bits = 4
    while (1 << bits) < 2 * total:
        bits += 1
    places, last, shift = np.full(1 << bits, -1, np.int32), (1 << bits) - 1, np.uint64(32 - bits)
    keys, votes, size = np.empty(total, np.int32), np.empty(total, np.float32), 0
    lower, upper = np.empty(256, np.float32), np.empty(256, np.float32)
    for n in range(cells.shape[0]):
        subset_sums(weights[n], 0, lower)
        subset_sums(weights[n], 8, upper)
        step, row, mask, key = steps[cells[n]], masks[cells[n]], chosen[n], 0
        for e in range(counts[cells[n]]):
            key += step[e]
            if row[e] & mask == 0:
                continue
            vote = lower[row[e] & 255] + upper[row[e] >> 8]
            at = np.int64(((np.uint64(key) * np.uint64(2654435769)) & np.uint64(0xFFFFFFFF)) >> shift)
            while places[at] >= 0 and keys[places[at]] != key:
                at = (at + 1) & last
            if places[at] < 0:
                places[at] = size
                keys[size], votes[size] = key, vote
                size += 1
            else:
                votes[places[at]] += vote
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
