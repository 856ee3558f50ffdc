"""Exact attention of one decoded token to spans of a layer's rows: all heads in a call."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST
from fovea.attention_retrieval.kernels.running import absorb_span, finish
from fovea.attention_retrieval.vectors import Stored, Table


@njit(nogil=True, inline="always")
def of_head(table: Table, head: int) -> Stored:
    """One head's rows."""
    return Stored(table.addresses[head], table.scales[head], table.like, table.d)


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_spans(keys: Table, values: Table, q: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(q . keys) . values over the rows of `spans` (spans, 2), each [start, stop), disjoint.

    q (heads, queries, d), times the scaling; returns output (heads, queries, d) and log-sum-exp (heads, queries).
    """
    heads, queries, d = q.shape
    out, lse = np.zeros((heads, queries, d), np.float32), np.empty((heads, queries), np.float32)
    for head in range(heads):
        most, total = np.full(queries, -np.inf, np.float32), np.zeros(queries, np.float32)
        for n in range(spans.shape[0]):
            mine = of_head(keys, head), of_head(values, head)
            absorb_span(mine[0], mine[1], q[head], spans[n, 0], spans[n, 1], most, total, out[head])
        finish(most, total, out[head], lse[head])
    return out, lse
