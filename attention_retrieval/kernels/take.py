"""Stored rows as float32, by their ids."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import fetch_ahead, read_row
from fovea.attention_retrieval.kernels.top_k import AHEAD
from fovea.attention_retrieval.stored import Stored


@njit(nogil=True, cache=True)
def take(stored: Stored, ids: np.ndarray) -> np.ndarray:
    """The rows `ids` (n,) as float32 (n, d); where an id is -1, anything."""
    rows = np.empty((ids.shape[0], stored.d), np.float32)
    for n in range(ids.shape[0]):
        if n + AHEAD < ids.shape[0] and ids[n + AHEAD] >= 0:
            fetch_ahead(stored, ids[n + AHEAD])
        if ids[n] >= 0:
            read_row(stored, ids[n], rows[n])
    return rows
