"""Exact attention of one decoded token to rows of a layer that are named by their ids: all heads in a call."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from fovea.attention_retrieval.kernels.running import TILE, Sums, absorb, finish, scores
from fovea.attention_retrieval.kernels.spans import of_head
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.stored import Table

AHEAD = 4


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_rows(
    keys: Table, values: Table, q: np.ndarray, ids: np.ndarray, near: Partial
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention of q (heads, queries, d), times the scaling, to the rows `ids` (heads, n), and what was attended to.

    A head's ids are each there once, and -1 behind its last; its queries read the same rows, each row once. `near` is
    merged in, (heads, queries, d) and (heads, queries): minus infinity for nothing. Returns output, log-sum-exp, and
    the logits of the rows, (heads, queries, n): minus infinity where there is none.
    """
    (heads, queries, d), width = q.shape, ids.shape[1]
    out, lse = near.out.copy(), np.empty((heads, queries), np.float32)
    logits = np.full((heads, queries, width), -np.inf, np.float32)
    tile, weights = np.empty((TILE, d), np.float32), np.empty((queries, TILE), np.float32)
    for head in range(heads):
        rows, mine, count = of_head(keys, values, head), ids[head], 0
        while count < width and mine[count] >= 0:
            count += 1
        sums = Sums(near.lse[head].copy(), np.ones(queries, np.float32), out[head])
        for g in range(queries):
            if sums.most[g] == -np.inf:
                sums.total[g] = 0
        for at in range(0, count, TILE):
            here = min(TILE, count - at)
            for n in range(here):
                if at + n + AHEAD < count:
                    fetch_ahead(rows.keys, np.int64(mine[at + n + AHEAD]))
                    fetch_ahead(rows.values, np.int64(mine[at + n + AHEAD]))
                read_row(rows.keys, np.int64(mine[at + n]), tile[n])
            scores(q[head], tile, here, weights)
            for n in range(here):
                for g in range(queries):
                    logits[head, g, at + n] = weights[g, n]
                read_row(rows.values, np.int64(mine[at + n]), tile[n])
            absorb(tile, here, weights, sums)
        finish(sums, lse[head])
    return out, lse, logits
