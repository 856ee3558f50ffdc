"""Segmented clustering: each stretch of the text is clustered by itself, as soon as it has come.

Positions are rotated into keys, so keys that are near in the text are near in space, and clustering by segments loses
little and costs a fraction: O(steps * keys * segment / size * d) in place of O(steps * keys^2 / size * d) (RetroInfer,
arXiv 2505.02922, section 4.2).
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.index.kmeans import kmeans, nearest

SEGMENT, SHORT = 8192, 1024
"""Rows of a segment, and of the least one that is worth clustering at the end of the text."""


def segments(start: int, stop: int) -> list[tuple[int, int]]:
    """[start, stop) in whole segments, then what is left if it is not too short."""
    spans = [(low, min(low + SEGMENT, stop)) for low in range(start, stop, SEGMENT)]
    return [(low, high) for low, high in spans if high - low >= SHORT]


def clustered(keys: Keys, low: int, high: int, size: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows [low, high) in spherical k-means clusters of about `size` rows around their mean.

    Returns the mean of each cluster, (clusters, d), and the cluster of each row, (high - low,) int32; none is empty.
    """
    from fovea.attention_retrieval.kernels.lists import sums

    rows = keys.matrix(low, high)
    centred = rows - rows.mean(axis=0)
    count = max(1, len(rows) // size)
    centroids = kmeans(centred, count, steps=steps, seed=(seed, low), spherical=True)
    cells = nearest(centred, centroids, spherical=True)
    total, members = sums(rows, cells, count)
    kept = members > 0
    renamed = np.cumsum(kept, dtype=np.int32) - 1
    return total[kept] / members[kept, None], renamed[cells]
