"""Blocks: the few units before a gap and the few after it, as one vector each."""

from __future__ import annotations

import numpy as np


def unit(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; rows of zeros stay zeros: float32."""
    return (vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)).astype(np.float32)


def centred(vectors: np.ndarray) -> np.ndarray:
    """Rows less their mean, scaled to length 1: what tells a unit from the rest of its text, float32."""
    return unit(vectors - vectors.mean(0)) if len(vectors) else vectors


def sides(vectors: np.ndarray, size: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the `size` units before and after each of the gaps `start` to `stop`: float32 `(gaps, dim)` each.

    Gap i lies between units i and i + 1; at the ends of the text a block has fewer units. O(gaps * size).
    """
    n, at = len(vectors), np.arange(start, stop)
    left, right = np.zeros((2, len(at), vectors.shape[1]), np.float32)
    for k in range(size):
        before, after = at - k >= 0, at + 1 + k < n
        left[before] += vectors[(at - k)[before]]
        right[after] += vectors[(at + 1 + k)[after]]
    return unit(left), unit(right)
