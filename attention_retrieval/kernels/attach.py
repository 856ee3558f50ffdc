"""New rows and left-over rows join the graph: from the keys of the queries that want them, or near what they resemble."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.graph import Graph
from attention_retrieval.kernels.best_first import Ask, best_first
from attention_retrieval.kernels.graph import link
from attention_retrieval.kernels.load import FAST, read_row
from attention_retrieval.vectors import Stored

NO_BIAS = np.empty(0, np.float32)


@njit(nogil=True, cache=True)
def attach(
    stored: Stored, graph: Graph, rows: np.ndarray, entries: np.ndarray, effort: int, parents: int, most: int
) -> int:
    """Give each of `rows` an edge from the `parents` nearest rows, by a search of `effort` rows.

    A row that finds no parent with room (or may not search: effort 0) hangs on the row that came before. Returns how many
    were attached: fewer than all if no block is left.
    """
    q, last = np.empty((1, stored.d), np.float32), entries[0]
    starts = np.empty(entries.shape[0] + 1, np.int32)
    starts[: entries.shape[0]] = entries
    for n in range(rows.shape[0]):
        read_row(stored, rows[n], q[0])
        starts[-1] = last
        near, _, _, _ = best_first(stored, graph, Ask(q, NO_BIAS, 0.5, 16, 8, effort), starts)
        found = 0
        for p in range(near.shape[1]):
            if found == parents or near[0, p] < 0:
                break
            if near[0, p] == rows[n]:
                continue
            if link(graph, near[0, p], rows[n], most):
                last = near[0, p] if found == 0 else last
                found += 1
        if found == 0:
            if not link(graph, last, rows[n], 1 << 30):
                return n
            last = rows[n]
    return rows.shape[0]


@njit(nogil=True, cache=True, fastmath=FAST)
def nearest_of(stored: Stored, key: np.ndarray, rows: np.ndarray, without: int) -> int:
    """The one of `rows` nearest to `key` (d,), other than row `without`; -1 if there is none."""
    row, best, least = np.empty(stored.d, np.float32), -1, np.float32(np.inf)
    for n in range(rows.shape[0]):
        if rows[n] == without:
            continue
        read_row(stored, rows[n], row)
        far = np.float32(0)
        for j in range(stored.d):
            far += (row[j] - key[j]) * (row[j] - key[j])
        if far < least:
            best, least = rows[n], far
    return best


@njit(nogil=True, cache=True)
def join_lists(
    stored: Stored, graph: Graph, first: int, masks: np.ndarray, firsts: np.ndarray, parents: int, most: int
) -> np.ndarray:
    """Edges to new rows from `first` on, from the keys that start the searches of the queries that want them.

    masks (rows, cells) say which training queries want a row. Of those, `parents` spread evenly over the cells each give
    it an edge from the nearest of their best keys. Returns which rows got none, (rows,) bool.
    """
    alone, key = np.ones(masks.shape[0], np.bool_), np.empty(stored.d, np.float32)
    wanting = np.empty(masks.shape[1] * 16, np.int64)
    for n in range(masks.shape[0]):
        size = 0
        for cell in range(masks.shape[1]):
            for i in range(16):
                if masks[n, cell] >> i & 1:
                    wanting[size] = cell * 16 + i
                    size += 1
        if size == 0:
            continue
        read_row(stored, first + n, key)
        for p in range(min(parents, size)):
            source = nearest_of(stored, key, firsts[wanting[p * size // min(parents, size)]], first + n)
            if source >= 0 and link(graph, source, first + n, most):
                alone[n] = False
    return alone
