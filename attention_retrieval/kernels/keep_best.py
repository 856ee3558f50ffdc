"""The best columns of each row of a score matrix that comes in tiles, so that the whole never exists."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.heaps import order, sift

STRIP = 64
"""Columns that are looked at together: most strips hold nothing good enough, and a count of those vectorises."""


@njit(nogil=True, cache=True)
def keep_best(scores: np.ndarray, first: int, ids: np.ndarray, logits: np.ndarray) -> None:
    """Take tile `scores` (queries, columns), whose columns are rows from `first` on, into heaps (queries, m)."""
    queries, columns = scores.shape
    m = ids.shape[1]
    for t in range(queries):
        row, heap, names = scores[t], logits[t], ids[t]
        for low in range(0, columns, STRIP):
            high = min(low + STRIP, columns)
            worst, better = heap[0], 0
            for j in range(low, high):
                better += row[j] > worst
            if better == 0:
                continue
            for j in range(low, high):
                if row[j] > heap[0]:
                    heap[0], names[0] = row[j], first + j
                    sift(heap, names, m)


@njit(nogil=True, cache=True)
def order_all(ids: np.ndarray, logits: np.ndarray) -> None:
    """Every heap becomes a list, best first."""
    for t in range(ids.shape[0]):
        order(logits[t], ids[t])
