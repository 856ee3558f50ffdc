"""Attention over stored rows, for the queries of one kv head together; the result is `(output, lse)` in float32."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.kernels.load import FAST, exp, fetch_ahead, read_row
from attention_retrieval.kernels.top_k import AHEAD
from attention_retrieval.vectors import Stored

TILE = 4


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_ids(stored: Stored, ids: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(logits) . values, where query g attends to the rows `ids[g]`; ids and logits (queries, k), -1 is nobody.

    Returns output (queries, d) and log-sum-exp (queries,): minus infinity, and output zero, where a query has no row.
    """
    queries, k = ids.shape
    d = stored.d
    out, lse = np.zeros((queries, d), np.float32), np.full(queries, -np.inf, np.float32)
    row = np.empty(d, np.float32)
    for g in range(queries):
        most = np.float32(-np.inf)
        for n in range(k):
            if ids[g, n] >= 0:
                most = max(most, logits[g, n])
        if most == -np.inf:
            continue
        total = np.float32(0)
        for n in range(k):
            if n + AHEAD < k and ids[g, n + AHEAD] >= 0:
                fetch_ahead(stored, ids[g, n + AHEAD])
            if ids[g, n] < 0:
                continue
            weight = exp(logits[g, n] - most)
            total += weight
            read_row(stored, ids[g, n], row)
            for j in range(d):
                out[g, j] += weight * row[j]
        for j in range(d):
            out[g, j] /= total
        lse[g] = most + np.log(total)
    return out, lse


@njit(nogil=True, cache=True, fastmath=FAST)
def scan_logits(stored: Stored, q: np.ndarray, start: int, stop: int) -> np.ndarray:
    """q . row for every row of [start, stop): (queries, stop - start)."""
    queries, d = q.shape
    logits, row = np.empty((queries, stop - start), np.float32), np.empty(d, np.float32)
    for i in range(start, stop):
        read_row(stored, i, row)
        for g in range(queries):
            total = np.float32(0)
            for j in range(d):
                total += row[j] * q[g, j]
            logits[g, i - start] = total
    return logits


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_scanned(stored: Stored, start: int, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(logits) . values over the rows from `start`; overwrites logits (queries, rows) with the weights.

    Each row is read once for all queries. Returns output (queries, d) and log-sum-exp (queries,).
    """
    queries, count = logits.shape
    d = stored.d
    out, lse = np.zeros((queries, d), np.float32), np.full(queries, -np.inf, np.float32)
    if count == 0:
        return out, lse
    for g in range(queries):
        most = logits[g].max()
        total = np.float32(0)
        for n in range(count):
            logits[g, n] = exp(logits[g, n] - most)
            total += logits[g, n]
        for n in range(count):
            logits[g, n] /= total
        lse[g] = most + np.log(total)
    tile = np.zeros((TILE, d), np.float32)  # four rows at a time: one load and store of the output for all of them
    a, b, c, e = tile[0], tile[1], tile[2], tile[3]
    for first in range(0, count, TILE):
        many = min(TILE, count - first)
        for n in range(many):
            read_row(stored, start + first + n, tile[n])
        tile[many:] = 0
        for g in range(queries):
            weights, mine = logits[g], out[g]
            wa, wb = weights[first], weights[min(first + 1, count - 1)]
            wc, we = weights[min(first + 2, count - 1)], weights[min(first + 3, count - 1)]
            for j in range(d):
                mine[j] += wa * a[j] + wb * b[j] + wc * c[j] + we * e[j]
    return out, lse
