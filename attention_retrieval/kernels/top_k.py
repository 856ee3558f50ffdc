"""The k best of many scores, exactly: a heap whose root is the worst one kept. O(n + insertions * log k)."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.kernels.heaps import order, sift
from attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from attention_retrieval.vectors import Stored

AHEAD = 8
"""How many rows ahead memory is asked for."""


@njit(nogil=True, inline="always", fastmath=FAST)
def offer(row: np.ndarray, extra: np.floating, i: int, q: np.ndarray, ids: np.ndarray, logits: np.ndarray) -> None:
    """Score row `i` for every query, and put it on the heaps of those for which it is good enough."""
    for g in range(q.shape[0]):
        total = extra
        for j in range(q.shape[1]):
            total += row[j] * q[g, j]
        if total > logits[g, 0]:
            logits[g, 0], ids[g, 0] = total, i
            sift(logits[g], ids[g], logits.shape[1])


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
        offer(row, bias[i] if bias.shape[0] > 0 else np.float32(0), i, q, ids, logits)
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
        offer(row, bias[i] if bias.shape[0] > 0 else np.float32(0), i, q, ids, logits)
    for g in range(queries):
        order(logits[g], ids[g])
    return ids, logits
