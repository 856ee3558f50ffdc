"""k-means by matrix products: Lloyd's steps over float32 rows, empty centroids left where they are.

cell(x) = argmax_c  x . c - |c|^2 / 2      nearest centroid, Euclidean
cell(x) = argmax_c  x . c / |c|            spherical: nearest by angle (RetroInfer's wave index)
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

Steps = Annotated[int, Field(ge=1, le=1000)]
"""A setting: steps of k-means. Far fewer than the most are enough for nothing to move any more."""
BLOCK = 2048
"""Rows that are compared to all centroids at once: the scores stay in the processor's cache."""


def kmeans(
    rows: np.ndarray, count: int, *, steps: int, seed: int | tuple[int, ...] = 0, spherical: bool = False
) -> np.ndarray:
    """Centroids (count, d) of `rows` (n, d), n >= count. They begin at one row out of each of `count` even stretches.

    O(steps * n * count * d); the same seed gives the same centroids.
    """
    from fovea.attention_retrieval.kernels.lists import sums

    edges = np.linspace(0, len(rows), count + 1).astype(np.int64)
    begin = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    centroids = np.ascontiguousarray(rows[begin], np.float32)
    for _ in range(steps):
        total, size = sums(rows, nearest(rows, centroids, spherical=spherical), count)
        filled = size > 0
        centroids[filled] = total[filled] / size[filled, None]
    return centroids


def nearest(rows: np.ndarray, centroids: np.ndarray, *, spherical: bool = False) -> np.ndarray:
    """The cell of each row (n,), int32. O(n * count * d)."""
    if spherical:
        against = centroids / np.maximum(np.linalg.norm(centroids, axis=1, keepdims=True), 1e-12)
        half = np.zeros(len(centroids), np.float32)
    else:
        against, half = centroids, np.square(centroids).sum(axis=1) / 2
    cells = np.empty(len(rows), np.int32)
    for at in range(0, len(rows), BLOCK):
        scores = rows[at : at + BLOCK] @ against.T
        scores -= half
        cells[at : at + BLOCK] = scores.argmax(axis=1)
    return cells
