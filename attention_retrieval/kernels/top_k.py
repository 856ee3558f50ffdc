"""The k best of many scores, exactly: a heap whose root is the worst one kept. O(n + insertions * log k)."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from attention_retrieval.vectors import Stored

AHEAD = 8
"""How many rows ahead memory is asked for."""


@njit(nogil=True, cache=True)
def sift(logits: np.ndarray, ids: np.ndarray, size: int) -> None:
    """Put the root of a heap of `size` where it belongs."""
    logit, one, at = logits[0], ids[0], 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and logits[child + 1] < logits[child]:
            child += 1
        if logit <= logits[child]:
            break
        logits[at], ids[at] = logits[child], ids[child]
        at = child
    logits[at], ids[at] = logit, one


@njit(nogil=True, cache=True)
def order(logits: np.ndarray, ids: np.ndarray) -> None:
    """A heap becomes a list, best first."""
    for end in range(logits.shape[0] - 1, 0, -1):
        logits[0], logits[end] = logits[end], logits[0]
        ids[0], ids[end] = ids[end], ids[0]
        sift(logits, ids, end)


@njit(nogil=True, cache=True, fastmath=FAST)
def scan_top_k(
    stored: Stored,
    bias: np.ndarray,
    q: np.ndarray,
    start: int,
    stop: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of [start, stop) with the largest q . row + bias, best first: ids and logits, both (queries, k).

    Each row is read once for all queries. Places that no row fills hold -1 and minus infinity.
    """
    queries, d = q.shape
    ids, logits = np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)
    row = np.empty(d, np.float32)
    for i in range(start, stop):
        read_row(stored, i, row)
        extra = bias[i] if bias.shape[0] > 0 else np.float32(0)
        for g in range(queries):
            total = extra
            for j in range(d):
                total += row[j] * q[g, j]
            if total > logits[g, 0]:
                logits[g, 0], ids[g, 0] = total, i
                sift(logits[g], ids[g], k)
    for g in range(queries):
        order(logits[g], ids[g])
    return ids, logits


@njit(nogil=True, cache=True, fastmath=FAST)
def gather_top_k(
    stored: Stored,
    bias: np.ndarray,
    q: np.ndarray,
    rows: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The same among the rows named in `rows`, (m,), each of them once; memory is asked for a few rows ahead."""
    queries, d = q.shape
    ids, logits = np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)
    row, count = np.empty(d, np.float32), rows.shape[0]
    for n in range(count):
        if n + AHEAD < count:
            fetch_ahead(stored, rows[n + AHEAD])
        i = rows[n]
        read_row(stored, i, row)
        extra = bias[i] if bias.shape[0] > 0 else np.float32(0)
        for g in range(queries):
            total = extra
            for j in range(d):
                total += row[j] * q[g, j]
            if total > logits[g, 0]:
                logits[g, 0], ids[g, 0] = total, i
                sift(logits[g], ids[g], k)
    for g in range(queries):
        order(logits[g], ids[g])
    return ids, logits
