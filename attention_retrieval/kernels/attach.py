"""Rows that nobody is known to want join the graph near the rows they resemble."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.best_first import Ask, best_first
from fovea.attention_retrieval.kernels.edges import Graph
from fovea.attention_retrieval.kernels.graph import link
from fovea.attention_retrieval.kernels.load import read_row
from fovea.attention_retrieval.stored import Stored

ANY = np.int64(1 << 30)
"""More edges than a node can have; typed, or Numba compiles `link` once more for the number."""


@njit(nogil=True, cache=True)
def attach(stored: Stored, graph: Graph, rows: np.ndarray, entries: np.ndarray, effort: int, most: int) -> int:
    """Give each of `rows` an edge from the nearest row that has a place, by a search of `effort` rows.

    A row that finds none (or may not search: effort 0) hangs on the row that came before. Returns how
    many were attached: fewer than all if no block is left.
    """
    q, last, no_bias = np.empty((1, stored.d), np.float32), entries[0], np.empty(0, np.float32)
    starts = np.empty(entries.shape[0] + 1, np.int32)
    for n in range(entries.shape[0]):  # for a slice Numba compiles what would word a mismatch, too
        starts[n] = entries[n]
    for n in range(rows.shape[0]):
        read_row(stored, rows[n], q[0])
        starts[-1] = last
        near, _, _, _ = best_first(stored, graph, Ask(q, no_bias, 0.5, 12, effort), starts)
        parent = hang(graph, near[0], rows[n], most)
        if parent < 0 and not link(graph, last, rows[n], ANY):
            return n
        last = parent if parent >= 0 else rows[n]
    return rows.shape[0]


@njit(nogil=True, cache=True)
def hang(graph: Graph, near: np.ndarray, row: int, most: int) -> int | np.integer:
    """An edge to `row` from the first of `near` that has a place for it, in its blocks if any has: which, or -1."""
    for grow in (False, True):
        for p in range(near.shape[0]):
            if near[p] >= 0 and near[p] != row and link(graph, near[p], row, most, grow):
                return near[p]
    return np.int32(-1)
