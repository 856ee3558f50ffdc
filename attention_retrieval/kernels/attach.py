"""Rows that nobody is known to want join the graph near the rows they resemble."""

from __future__ import annotations

import numpy as np
from numba import njit

from attention_retrieval.graph import Graph
from attention_retrieval.kernels.best_first import Ask, best_first
from attention_retrieval.kernels.graph import link
from attention_retrieval.kernels.load import read_row
from attention_retrieval.vectors import Stored

NO_BIAS = np.empty(0, np.float32)


@njit(nogil=True, cache=True)
def attach(
    stored: Stored, graph: Graph, rows: np.ndarray, entries: np.ndarray, effort: int, parents: int, most: int
) -> int:
    """Give each of `rows` an edge from the `parents` nearest rows, by a search of `effort` rows.

    A row that finds no parent with room (or may not search: effort 0) hangs on the row that came before. Returns how
    many were attached: fewer than all if no block is left.
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
