"""Which training queries want a new key: those for which it scores at least what ends their list."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, decode


@njit(nogil=True, cache=True, fastmath=FAST)
def joins(asked: np.ndarray, floors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """A mask for each new row and cell of sixteen queries, (rows, cells) uint16: bit i is set where

    asked[16 cell + i] . row >= floors[16 cell + i]; asked (queries, d) are bf16 codes, rows (n, d) float32.
    """
    queries, d = asked.shape
    out, query = np.zeros((rows.shape[0], queries // 16), np.uint16), np.empty(d, np.float32)
    for t in range(queries):
        for j in range(d):
            query[j] = decode(asked[t, j])
        for n in range(rows.shape[0]):
            total = np.float32(0)
            for j in range(d):
                total += query[j] * rows[n, j]
            if total >= floors[t]:
                out[n, t // 16] |= np.uint16(1 << (t % 16))
    return out
