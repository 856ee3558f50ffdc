"""Block similarities: how alike the units before a gap are to those after it, near and far, raw and centred.

For a window w, left and right are the means of the w unit vectors on either side (fewer at the ends), and the
similarity is their cosine. Centred vectors have the document's mean taken out: what all of a document shares says
nothing about where its topics change.
"""

from __future__ import annotations

import numpy as np

WINDOWS = (1, 2, 3, 5, 8)
STRETCH = 1024


def centred(vectors: np.ndarray) -> np.ndarray:
    """Unit vectors less their mean, scaled back to unit length; a vector that was the mean becomes zero."""
    return unit(vectors - vectors.mean(axis=0, keepdims=True))


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length; zero rows stay zero."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, where=norms > 1e-9, out=np.zeros_like(rows))


def block_cosines(
    vectors: np.ndarray, windows: tuple[int, ...] = WINDOWS, mean: np.ndarray | None = None
) -> np.ndarray:
    """Float32 `(gaps, windows)` for unit vectors `(units, dim)`, less `mean` and scaled back where one is given.

    O(units * dim), whatever the windows; memory for `STRETCH` gaps at a time.
    """
    n, most = len(vectors), max(windows)
    found = np.zeros((max(n - 1, 0), len(windows)), np.float32)
    for start in range(0, n - 1, STRETCH):
        stop, low = min(start + STRETCH, n - 1), max(start + 1 - most, 0)
        part = vectors[low : stop + most]
        part = part if mean is None else unit(part - mean)
        sums = np.concatenate([np.zeros((1, part.shape[1])), np.cumsum(part, axis=0, dtype=np.float64)])
        gaps = np.arange(start, stop) + 1 - low
        for column, window in enumerate(windows):
            left = sums[gaps] - sums[np.maximum(gaps - window, 0)]
            right = sums[np.minimum(gaps + window, len(part))] - sums[gaps]
            found[start:stop, column] = (unit(left) * unit(right)).sum(axis=1)
    return found


def sides(vectors: np.ndarray, size: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of the `size` units before and after each of the gaps `start` to `stop`: float32 `(gaps, dim)` each.

    Gap i lies between units i and i + 1; at the ends of the text a block has fewer units. Memory for these gaps alone;
    O(gaps * size).
    """
    n, at = len(vectors), np.arange(start, stop)
    left, right = np.zeros((2, len(at), vectors.shape[1]), np.float32)
    for k in range(size):
        before, after = at - k >= 0, at + 1 + k < n
        left[before] += vectors[(at - k)[before]]
        right[after] += vectors[(at + 1 + k)[after]]
    return unit(left), unit(right)
