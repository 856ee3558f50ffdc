"""A running softmax over tiles of rows: attention in one pass, by the queries of one kv head together.

    m' = max(m, max_n logit_n)    out' = exp(m - m') out + sum_n exp(logit_n - m') v_n    total' with 1 for v_n

What was attended to is out / total, its log-sum-exp m + log(total). Tiles are float32 and lie in the processor's cache.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, exp, read_row
from fovea.attention_retrieval.stored import Stored

TILE = 64
"""Rows of a tile."""


class Rows(NamedTuple):
    """One head's keys and values."""

    keys: Stored
    values: Stored


class Sums(NamedTuple):
    """What the queries of a head have attended to so far."""

    most: np.ndarray
    """The logit that weights are relative to, (queries,); minus infinity before the first tile."""
    total: np.ndarray
    """(queries,)"""
    out: np.ndarray
    """(queries, d)"""


@njit(nogil=True, cache=True, fastmath=FAST)
def scores(q: np.ndarray, rows: np.ndarray, count: int | np.integer, logits: np.ndarray) -> None:
    """q[g] . rows[n] into logits[g, n], for the first `count` rows; three or four queries at a time share a row."""
    queries, d = q.shape
    for n in range(count):
        row, g = rows[n], 0
        while g + 4 <= queries:
            one, two, three, four = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for j in range(d):
                one += row[j] * q[g, j]
                two += row[j] * q[g + 1, j]
                three += row[j] * q[g + 2, j]
                four += row[j] * q[g + 3, j]
            logits[g, n], logits[g + 1, n], logits[g + 2, n], logits[g + 3, n] = one, two, three, four
            g += 4
        while g < queries:
            total = np.float32(0)
            for j in range(d):
                total += row[j] * q[g, j]
            logits[g, n] = total
            g += 1


@njit(nogil=True, cache=True, fastmath=FAST)
def raise_most(top: np.floating, g: int, sums: Sums) -> None:
    """Let query g's weights be relative to `top`, where that is more than what they were."""
    if top > sums.most[g]:
        shrink = exp(sums.most[g] - top)
        sums.total[g] *= shrink
        for j in range(sums.out.shape[1]):
            sums.out[g, j] *= shrink
        sums.most[g] = top


@njit(nogil=True, cache=True, fastmath=FAST)
def absorb(values: np.ndarray, count: int | np.integer, logits: np.ndarray, sums: Sums) -> None:
    """Take a tile's first `count` rows in: their values (rows, d) and logits (queries, rows), which are overwritten."""
    queries, d = sums.out.shape
    for g in range(queries):
        mine, out, top = logits[g], sums.out[g], np.float32(-np.inf)
        for n in range(count):
            top = max(top, mine[n])
        raise_most(top, g, sums)
        most, added = sums.most[g], np.float32(0)
        for n in range(count):
            mine[n] = exp(mine[n] - most)
            added += mine[n]
        sums.total[g] += added
        n = 0
        while n + 4 <= count:
            one, two, three, four = mine[n], mine[n + 1], mine[n + 2], mine[n + 3]
            for j in range(d):
                out[j] += one * values[n, j] + two * values[n + 1, j]
                out[j] += three * values[n + 2, j] + four * values[n + 3, j]
            n += 4
        while n < count:
            one = mine[n]
            for j in range(d):
                out[j] += one * values[n, j]
            n += 1


@njit(nogil=True, cache=True, fastmath=FAST)
def absorb_span(rows: Rows, q: np.ndarray, start: int, stop: int, sums: Sums) -> None:
    """Take in the stored rows [start, stop), tile by tile."""
    queries, d = q.shape
    tile, logits = np.empty((TILE, d), np.float32), np.empty((queries, TILE), np.float32)
    for at in range(start, stop, TILE):
        count = min(TILE, stop - at)
        for n in range(count):
            read_row(rows.keys, at + n, tile[n])
        scores(q, tile, count, logits)
        for n in range(count):
            read_row(rows.values, at + n, tile[n])
        absorb(tile, count, logits, sums)


@njit(nogil=True, cache=True, fastmath=FAST)
def finish(sums: Sums, lse: np.ndarray) -> None:
    """The output in place of its sums, and the log-sum-exp; a query that saw no row keeps zeros and minus infinity."""
    for g in range(len(lse)):
        lse[g] = -np.inf
        if sums.total[g] > 0:
            lse[g] = sums.most[g] + np.log(sums.total[g])
            for j in range(sums.out.shape[1]):
                sums.out[g, j] /= sums.total[g]
