"""Exact search: the rows of highest inner product, to the last rank.

A matrix product in single precision finds the candidates, with a margin that covers its rounding; they are ranked by
products in double precision, which depend on nothing but the two vectors. So a row scores the same in every index.
For one query at a time numpy's product answers sooner than `faiss.knn` (benchmarks/stores.py), and needs no faiss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Pairs = list[tuple[int, float]]
DENSE_SHARE = 8
"""From one row in this many on, all products are computed: reading in order is that much faster than gathering."""


def candidates(matrix: np.ndarray, vector: np.ndarray, k: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Positions among which the `k` best of `rows` (all, if None) are sure to be: all within rounding of the k-th."""
    import numpy as np

    if rows is None:
        scores = matrix @ vector
    elif len(rows) * DENSE_SHARE > len(matrix):
        scores = (matrix @ vector)[rows]
    else:
        scores = matrix[rows] @ vector
    if k >= len(scores):
        return rows if rows is not None else np.arange(len(scores))
    # Summing d products in single precision errs by at most d 2^-24 |x||q|, for the k-th and for each other one.
    margin = 2.0 * len(vector) * 2.0**-24 * max(1.0, float(np.linalg.norm(vector)))
    bar = np.partition(scores, len(scores) - k)[len(scores) - k] - margin
    found = np.flatnonzero(scores >= bar)
    return rows[found] if rows is not None else found


def rank(nos: np.ndarray, vectors: np.ndarray, vector: np.ndarray, k: int) -> Pairs:
    """The `k` best `(no, inner product)`, best first, equal ones by rising `no`."""
    import numpy as np

    scores = (vectors.astype(np.float64) * vector.astype(np.float64)).sum(axis=1)
    order = np.lexsort((nos, -scores))[:k]
    return [(int(nos[i]), float(scores[i])) for i in order]
