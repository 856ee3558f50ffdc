"""The wave index: small clusters of each stretch of the text, of which a query reads the nearest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.index.clusters import clustered, segments
from fovea.attention_retrieval.index.engine import Engine, Found, Keys
from fovea.attention_retrieval.index.filed import FiledIndex, filed, fits
from fovea.rag.errors import ModelError

LEAST = 8
"""Rows that are read for each one wanted, at least: in a short text the share alone would be a cluster or two."""


class WaveEngine(Engine, name="wave"):
    """Spherical k-means clusters of about 16 keys inside segments of 8,192; the nearest clusters are read whole.

    Clusters are chosen by q . centroid. Building is a few matrix products a segment and looks at no query, so it suits
    a prompt that is asked once; a new segment is clustered each time 1,024 rows have come, and what is not clustered
    yet is scanned. Centroids are one vector for every 16 keys, all of which a search scores. Its estimation zone is
    the correction `tail`, for every engine. RetroInfer (arXiv 2505.02922).
    """

    size: PositiveInt = 16
    """Keys a cluster, on average."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.018
    """The part of the clusters that each query reads."""
    steps: PositiveInt = 4
    """Steps of k-means."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> WaveIndex:
        """Clusters segment after segment. O(steps * keys * 8192 / size * d)."""
        nothing = np.empty((0, keys.width), np.float32)
        empty = Keys(keys.rows, keys.start, keys.start, keys.bias)
        index = WaveIndex(self, empty, nothing, np.empty(0, np.int32), seed)
        index.insert(keys.stop)
        return index

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> WaveIndex:
        """Raises ModelError where the state is not one of these keys."""
        centroids, cells, seed = filed(state, keys.width)
        if not fits(keys, centroids, cells) or len(cells) > len(keys):
            raise ModelError(
                f"the state of the wave index does not fit its {len(keys)} keys of {keys.width} numbers: "
                f"centroids {centroids.shape}, clusters of {len(cells)} rows",
                fix="build the index again from the same text",
            )
        return WaveIndex(self, keys, centroids, cells, seed)


class WaveIndex(FiledIndex):
    """Centroids (clusters, d), and the cluster of each row from the first on; the rows after them are scanned."""

    def __init__(self, engine: WaveEngine, keys: Keys, centroids: np.ndarray, cells: np.ndarray, seed: int) -> None:
        self.engine = engine
        super().__init__(keys, centroids, cells, seed)

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best rows of the clusters that the queries of the group want, together, and of those not clustered."""
        from fovea.attention_retrieval.kernels.lists import wanted_rows

        if k >= len(self.keys) or not len(self.centroids):
            return self.keys.best(q, k)
        probes = max(1, round(self.engine.share * len(self.centroids)))
        rows = wanted_rows(self.centroids, q, probes, LEAST * k, self.offsets, self.rows)
        rest = np.arange(self.keys.start + len(self.cells), self.keys.stop, dtype=np.int32)
        ids, logits = self.keys.best_of(q, np.concatenate([rows, rest]), k)
        count = len(rows) + len(rest)
        read = self.centroids.nbytes + self.offsets.nbytes + 4 * len(rows) + count * self.keys.rows.row_bytes
        return Found(ids, logits, len(self.centroids) + count, read)

    def insert(self, stop: int) -> None:
        """Cluster the new segments that are long enough."""
        keys = Keys(self.keys.rows, self.keys.start, stop, self.keys.bias)
        centroids, cells = [self.centroids], [self.cells]
        for low, high in segments(keys.start + len(self.cells), stop):
            means, which = clustered(keys, low, high, self.engine.size, self.engine.steps, self.seed)
            cells.append(which + np.int32(sum(map(len, centroids))))
            centroids.append(means)
        self.file(keys, np.concatenate(centroids), np.concatenate(cells))
