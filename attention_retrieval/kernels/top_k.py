"""The k best of many rows, exactly: of all of them by a heap, of some that are named by their scores."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.best_places import best_places
from fovea.attention_retrieval.kernels.heaps import order, sift
from fovea.attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from fovea.attention_retrieval.stored import Stored

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


@njit(nogil=True, inline="always", fastmath=FAST)
def score_four(row: np.ndarray, q: np.ndarray, g: int, out: np.ndarray, n: int) -> None:
    """Products of a row with queries g to g + 3 into out[g : g + 4, n]: side by side they take little more than one."""
    one, two, three, four = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for j in range(row.shape[0]):
        one += row[j] * q[g, j]
        two += row[j] * q[g + 1, j]
        three += row[j] * q[g + 2, j]
        four += row[j] * q[g + 3, j]
    out[g, n], out[g + 1, n], out[g + 2, n], out[g + 3, n] = one, two, three, four


@njit(nogil=True, cache=True, fastmath=FAST)
def gathered(stored: Stored, bias: np.ndarray, q: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """q . row + bias of the rows named in `rows`, (queries, m); memory is asked for a few rows ahead."""
    queries, d = q.shape
    row, count = np.empty(d, np.float32), rows.shape[0]
    out = np.empty((queries, count), np.float32)
    for n in range(count):
        if n + AHEAD < count:
            fetch_ahead(stored, rows[n + AHEAD])
        read_row(stored, rows[n], row)
        g = 0
        while g + 4 <= queries:
            score_four(row, q, g, out, n)
            g += 4
        while g < queries:
            total = np.float32(0)
            for j in range(d):
                total += row[j] * q[g, j]
            out[g, n] = total
            g += 1
        if bias.shape[0] > 0:
            for g in range(queries):
                out[g, n] += bias[rows[n]]
    return out


@njit(nogil=True, cache=True)
def gather_top_k(
    stored: Stored,
    bias: np.ndarray,
    q: np.ndarray,
    rows: np.ndarray,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The same among the rows named in `rows`, (m,), each of them once: all are scored, then the best are picked.

    Of so few rows a good part would go on a heap, and that takes longer than scoring them.
    """
    queries, every = q.shape[0], gathered(stored, bias, q, rows)
    ids, logits = np.full((queries, k), -1, np.int32), np.full((queries, k), -np.inf, np.float32)
    for g in range(queries):
        places = best_places(every[g], k)
        for n in range(places.shape[0]):
            ids[g, n], logits[g, n] = rows[places[n]], every[g, places[n]]
    return ids, logits
