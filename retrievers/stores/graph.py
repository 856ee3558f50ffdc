"""Approximate search by faiss: an HNSW graph or inverted lists over the rows of the base.

The graph file holds links only; the vectors stay in the matrix. Inverted lists hold a second copy of the vectors.
"""

from __future__ import annotations

from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fovea.rag import progress
from fovea.rag.errors import require
from fovea.retrievers.stores.base import Damaged

if TYPE_CHECKING:
    import numpy as np

Kind = Literal["flat", "hnsw", "ivf"]
LINKS, EF_CONSTRUCTION, BATCH = 16, 100, 8192
GPU_DISTRIBUTIONS = ("faiss-gpu", "faiss-gpu-cuvs")
POINTS_PER_LIST = 39
"""faiss warns when it learns a list from fewer."""


def faiss(needed_by: str) -> Any:
    """The module, or MissingExtra."""
    return require("faiss", extra="faiss", needed_by=needed_by)


def available() -> bool:
    """Whether faiss is installed."""
    from importlib.util import find_spec

    return find_spec("faiss") is not None


def gpus() -> int:
    """How many GPUs an installed faiss-gpu can use. Without one faiss is not even imported, which takes long."""
    for name in GPU_DISTRIBUTIONS:
        with suppress(PackageNotFoundError):
            distribution(name)
            return int(faiss("the GPU").get_num_gpus())
    return 0


class Graph:
    """An approximate index over rows 0, 1, 2, ... of a matrix."""

    def __init__(self, index: Any, kind: Kind) -> None:
        self._index, self.kind = index, kind

    @classmethod
    def build(cls, kind: Kind, vectors: np.ndarray) -> Graph:
        """Index every row: O(rows log rows) for hnsw, O(rows sqrt(rows)) for ivf."""
        f, (rows, dim) = faiss(f"index {kind}"), vectors.shape
        if kind == "hnsw":
            index = f.IndexHNSWFlat(dim, LINKS, f.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = EF_CONSTRUCTION
        else:
            lists = max(1, min(int(2 * rows**0.5), rows // POINTS_PER_LIST))
            index = f.IndexIVFFlat(f.IndexFlatIP(dim), dim, lists, f.METRIC_INNER_PRODUCT)
            index.train(vectors)
        graph = cls(index, kind)
        with progress.bar(f"build {kind}", rows) as bar:
            for at in range(0, rows, BATCH):
                graph.extend(vectors[at : at + BATCH])
                bar.advance(min(BATCH, rows - at))
        return graph

    @classmethod
    def load(cls, path: Path, kind: Kind, vectors: np.ndarray) -> Graph:
        """Read a graph that was saved over the same rows; raises Damaged."""
        f = faiss(f"index {kind}")
        try:
            index = f.read_index(str(path), f.IO_FLAG_SKIP_STORAGE)
        except RuntimeError as error:
            raise Damaged(f"{path} cannot be read: {error}") from None
        if kind == "hnsw":
            storage = f.IndexFlatIP(vectors.shape[1])
            storage.add(vectors)
            storage.this.disown()
            index.storage, index.own_fields = storage, True
        if (index.ntotal, index.d) != vectors.shape:
            raise Damaged(f"{path} has {index.ntotal} rows of {index.d} numbers, not {vectors.shape}")
        return cls(index, kind)

    @classmethod
    def on_gpu(cls, vectors: np.ndarray) -> Graph:
        """All rows on every GPU there is, compared one by one."""
        f = faiss("the GPU")
        index = f.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return cls(f.index_cpu_to_all_gpus(index), "flat")

    def extend(self, vectors: np.ndarray) -> None:
        """Index more rows, after those that are in."""
        self._index.add(vectors)

    def save(self, path: Path) -> None:
        """Write the graph, without the vectors where they can be left out."""
        f = faiss(f"index {self.kind}")
        try:
            f.write_index(self._index, str(path), f.IO_FLAG_SKIP_STORAGE if self.kind == "hnsw" else 0)
        except RuntimeError as error:  # faiss says so of a full disk.
            raise OSError(str(error)) from None

    def search(self, vector: np.ndarray, k: int, effort: int, rows: np.ndarray | None = None) -> np.ndarray:
        """About the `k` best positions, among `rows` only if given, in no order. `effort` is efSearch or nprobe."""
        if self.kind == "flat":
            return self._index.search(vector[None], k)[1][0]
        f = faiss(f"index {self.kind}")
        selector = {"sel": f.IDSelectorBatch(rows)} if rows is not None else {}
        if self.kind == "hnsw":
            parameters = f.SearchParametersHNSW(efSearch=max(effort, k), **selector)
        else:
            parameters = f.SearchParametersIVF(nprobe=effort, **selector)
        found = self._index.search(vector[None], k, params=parameters)[1][0]
        return found[found >= 0]
