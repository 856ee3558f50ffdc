"""Inverted lists: keys are filed under the nearest of some centroids, and a query reads the lists it likes best."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.index.engine import Engine, Found, Keys
from fovea.attention_retrieval.index.filed import FiledIndex, filed, fits
from fovea.attention_retrieval.index.kmeans import Steps, kmeans, nearest
from fovea.rag.errors import ModelError


class IvfEngine(Engine, name="ivf"):
    """Lists of the Euclidean k-means cells of the keys; a query reads the `nprobe` lists of largest q . centroid.

    Inner products among out-of-distribution queries want wide probing: of a model's own vectors this needs three times
    the rows that `query_ivf` does. Only centroids and the cell of each key are kept, 8 bytes a key; rows are scored
    where they lie in the cache. (faiss's IVF keeps a float32 copy of the keys in the order of its lists, twice the
    bytes of bf16 keys, which it reads faster.) A search is O((lists + rows read) * d).
    """

    nlist: PositiveInt | None = None
    """How many lists; 3 sqrt(keys) unless set."""
    nprobe: PositiveInt = 48
    """How many lists each query reads; further ones are read where these hold fewer than k rows."""
    sample: PositiveInt = 32
    """Keys per list that k-means learns from, drawn evenly over the text."""
    steps: Steps = 6
    """Steps of k-means."""

    def lists(self, keys: int) -> int:
        """How many lists so many keys get."""
        return max(1, min(self.nlist or round(3 * keys**0.5), keys)) if keys else 0

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> IvfIndex:
        """k-means on a sample, then every key to its cell. O(steps * sample * lists^2 * d + keys * lists * d)."""
        count = self.lists(len(keys))
        rows = sampled(keys, count * self.sample, seed)
        centroids = kmeans(rows, count, steps=self.steps, seed=seed)
        cells = [nearest(keys.matrix(low, high), centroids) for low, high in spans(keys.start, keys.stop)]
        return IvfIndex(self, keys, centroids, np.concatenate(cells or [np.empty(0, np.int32)]), seed)

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> IvfIndex:
        """Raises ModelError where the state is not one of these keys."""
        centroids, cells, seed = filed(state, keys.width)
        if not fits(keys, centroids, cells) or cells.shape != (len(keys),):
            raise ModelError(
                f"the state of the ivf index does not fit its {len(keys)} keys of {keys.width} numbers: "
                f"centroids {centroids.shape}, cells {cells.shape}",
                fix="build the index again from the same text",
            )
        return IvfIndex(self, keys, centroids, cells, seed)


def spans(start: int, stop: int, size: int = 8192) -> list[tuple[int, int]]:
    """[start, stop) in pieces, so that only a piece is float32 at a time."""
    return [(low, min(low + size, stop)) for low in range(start, stop, size)]


def sampled(keys: Keys, count: int, seed: int) -> np.ndarray:
    """At most `count` keys, drawn evenly, in the order of the text: as `Keys.matrix`, (count, d)."""
    if count >= len(keys):
        return keys.matrix()
    ids = np.sort(np.random.default_rng(seed).choice(len(keys), count, replace=False)) + keys.start
    rows = keys.rows.take(ids)
    return np.column_stack([rows, keys.bias[ids]]) if len(keys.bias) else rows


class IvfIndex(FiledIndex):
    """Centroids (lists, d), and the rows sorted by their list."""

    def __init__(self, engine: IvfEngine, keys: Keys, centroids: np.ndarray, cells: np.ndarray, seed: int) -> None:
        self.engine = engine
        super().__init__(keys, centroids, cells, seed)

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best of the rows in the lists that the queries of the group want, together."""
        from fovea.attention_retrieval.kernels.lists import wanted_rows

        if k >= len(self.keys) or not len(self.centroids):
            return self.keys.best(q, k)
        rows = wanted_rows(self.centroids, q, self.engine.nprobe, k, self.offsets, self.rows)
        ids, logits = self.keys.best_of(q, rows, k)
        read = self.centroids.nbytes + self.offsets.nbytes + len(rows) * (4 + self.keys.rows.row_bytes)
        return Found(ids, logits, len(self.centroids) + len(rows), read)

    def insert(self, stop: int) -> None:
        """New rows go to the nearest list; where there are far more than lists were made for, lists are made anew."""
        keys = Keys(self.keys.rows, self.keys.start, stop, self.keys.bias)
        centroids, cells = self.centroids, self.cells
        if self.engine.lists(len(keys)) > 2 * len(centroids):
            again = self.engine.build(keys, None, seed=self.seed)
            centroids, cells = again.centroids, again.cells
        elif stop > self.keys.stop:
            new = [nearest(keys.matrix(a, b), centroids) for a, b in spans(self.keys.stop, stop)]
            cells = np.concatenate([cells, *new])
        self.file(keys, centroids, cells)
