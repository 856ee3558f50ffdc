"""Filed: rows in cells around centroids, and the rows of each cell side by side. What `ivf` is made of."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.index.engine import Index, Keys
from fovea.attention_retrieval.index.state import part


class FiledIndex(Index):
    """Centroids (cells, d), the cell of each row from the first on, and the seed for cells to come."""

    def __init__(self, keys: Keys, centroids: np.ndarray, cells: np.ndarray, seed: int) -> None:
        self.seed = seed
        self.file(keys, centroids, cells)

    def file(self, keys: Keys, centroids: np.ndarray, cells: np.ndarray) -> None:
        """Take over keys and cells, and sort rows by cell: those of cell c are rows[offsets[c] : offsets[c + 1]]."""
        from fovea.attention_retrieval.kernels.lists import lists_of

        self.keys, self.centroids, self.cells = keys, centroids, cells
        self.offsets, self.rows = lists_of(cells, keys.start, len(centroids))

    def state(self) -> dict[str, np.ndarray]:
        """Centroids, cells and seed."""
        return {"centroids": self.centroids, "cells": self.cells, "seed": np.array([self.seed])}

    @property
    def nbytes(self) -> int:
        """The state, and the sorted rows that are made of it."""
        return self.centroids.nbytes + self.cells.nbytes + self.rows.nbytes + self.offsets.nbytes


def filed(state: Mapping[str, np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Centroids, cells and seed of a state; raises StoreError where one has another type or shape."""
    centroids = part(state, "centroids", np.float32, (None, width))
    return centroids, part(state, "cells", np.int32, (None,)), int(part(state, "seed", np.int64, (1,))[0])


def fits(keys: Keys, centroids: np.ndarray, cells: np.ndarray) -> bool:
    """Whether such a state can be one of these keys: the width, and cells that there are."""
    return centroids.shape[1:] == (keys.width,) and (
        not len(cells) or bool(0 <= cells.min() <= cells.max() < len(centroids))
    )
