"""Inverted lists: rows sorted by their cell, the cells a query wants, and sums over cells."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.heaps import sift
from fovea.attention_retrieval.kernels.load import FAST


@njit(nogil=True, cache=True)
def sums(rows: np.ndarray, cells: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the rows of each cell, (count, d) float32, and how many they are, (count,) float32."""
    d = rows.shape[1]
    total, size = np.zeros((count, d), np.float32), np.zeros(count, np.float32)
    for i in range(rows.shape[0]):
        cell = cells[i]
        size[cell] += 1
        for j in range(d):
            total[cell, j] += rows[i, j]
    return total, size


@njit(nogil=True, cache=True)
def lists_of(cells: np.ndarray, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows `first`, `first + 1`, ... by their `cells` (n,): list c is rows[offsets[c] : offsets[c + 1]], ascending."""
    offsets, rows = np.zeros(count + 1, np.int32), np.empty(cells.shape[0], np.int32)
    for cell in cells:
        offsets[cell + 1] += 1
    for c in range(count):
        offsets[c + 1] += offsets[c]
    at = offsets[:-1].copy()
    for i in range(cells.shape[0]):
        rows[at[cells[i]]] = first + i
        at[cells[i]] += 1
    return offsets, rows


@njit(nogil=True, cache=True, fastmath=FAST)
def wanted_rows(
    centroids: np.ndarray,
    q: np.ndarray,
    probes: int,
    least: int,
    offsets: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """The rows in the cells with the largest q . centroid of any query of the group, each row once.

    Each query (queries, d) takes its `probes` best cells, and further ones until they hold `least` rows; a cell that
    several queries want is read once. A last column of `centroids` that q lacks is added as it is.
    """
    queries, d = q.shape
    cells = centroids.shape[0]
    lifted = centroids.shape[1] > d
    chosen = np.zeros(cells, np.bool_)
    scores = np.empty((queries, cells), np.float32)
    for c in range(cells):
        extra = centroids[c, d] if lifted else np.float32(0)
        for g in range(queries):
            total = extra
            for j in range(d):
                total += centroids[c, j] * q[g, j]
            scores[g, c] = total
    for g in range(queries):
        choose(scores[g], probes, least, offsets, chosen)
    count = 0
    for c in range(cells):
        if chosen[c]:
            count += offsets[c + 1] - offsets[c]
    out, at = np.empty(count, np.int32), 0
    for c in range(cells):
        if chosen[c]:
            for i in range(offsets[c], offsets[c + 1]):
                out[at] = rows[i]
                at += 1
    return out


@njit(nogil=True, cache=True)
def choose(scores: np.ndarray, probes: int, least: int, offsets: np.ndarray, chosen: np.ndarray) -> None:
    """Mark the cells with the best scores: at least `probes` of them, and until they hold `least` rows."""
    wanted = min(probes, scores.shape[0])
    while True:
        best, ids = np.full(wanted, -np.inf, np.float32), np.full(wanted, -1, np.int32)
        for c in range(scores.shape[0]):
            if scores[c] > best[0]:
                best[0], ids[0] = scores[c], c
                sift(best, ids, wanted)
        held = 0
        for c in ids:
            if c >= 0:
                held += offsets[c + 1] - offsets[c]
        if held >= least or wanted == scores.shape[0]:
            break
        wanted = min(2 * wanted, scores.shape[0])
    for c in ids:
        if c >= 0:
            chosen[c] = True


@njit(nogil=True, cache=True)
def distinct(ids: np.ndarray, first: int, count: int) -> np.ndarray:
    """The numbers of `ids` (queries, k), each once, as `first + id`, in the order they come; -1 is nobody."""
    seen, out, at = np.zeros(count, np.bool_), np.empty(ids.size, np.int32), 0
    for one in ids.flat:
        if one >= 0 and not seen[one]:
            seen[one] = True
            out[at] = first + one
            at += 1
    return out[:at]
