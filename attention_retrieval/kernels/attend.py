"""Attention over stored rows, for the queries of one kv head together; the result is `(output, lse)` in float32."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, exp, fetch_ahead, read_row
from fovea.attention_retrieval.kernels.top_k import AHEAD
from fovea.attention_retrieval.stored import Stored


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
            weight, mine = exp(logits[g, n] - most), out[g]
            total += weight
            read_row(stored, ids[g, n], row)
            for j in range(d):
                mine[j] += weight * row[j]
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
    row = np.empty(d, np.float32)
    for n in range(count):
        read_row(stored, start + n, row)
        for g in range(queries):
            weight, mine = logits[g, n], out[g]  # one array to write to and one to read: the loop over d is SIMD
            for j in range(d):
                mine[j] += weight * row[j]
    return out, lse
