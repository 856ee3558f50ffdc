"""Exact attention of one decoded token to spans of a layer's rows: all heads in a call."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST
from fovea.attention_retrieval.kernels.running import Rows, Sums, absorb_span, finish
from fovea.attention_retrieval.stored import Stored, Table


@njit(nogil=True, inline="always")
def stored_of(table: Table, head: int) -> Stored:
    """One head's keys or values."""
    where, scales, plain = table.addresses[head], table.scales[head], table.plain[head]
    return Stored(where, scales, table.like, table.d, table.bits, table.blocked, plain, table.first, table.coded[head])


@njit(nogil=True, inline="always")
def of_head(keys: Table, values: Table, head: int) -> Rows:
    """One head's rows."""
    return Rows(stored_of(keys, head), stored_of(values, head))


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_spans(keys: Table, values: Table, q: np.ndarray, spans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(q . keys) . values over the rows of `spans` (heads, spans, 2), each [start, stop), disjoint.

    q (heads, queries, d), times the scaling; returns output (heads, queries, d) and log-sum-exp (heads, queries).
    """
    heads, queries, d = q.shape
    out, lse = np.zeros((heads, queries, d), np.float32), np.empty((heads, queries), np.float32)
    for head in range(heads):
        sums = Sums(np.full(queries, -np.inf, np.float32), np.zeros(queries, np.float32), out[head])
        rows = of_head(keys, values, head)
        for n in range(spans.shape[1]):
            absorb_span(rows, q[head], spans[head, n, 0], spans[head, n, 1], sums)
        finish(sums, lse[head])
    return out, lse
