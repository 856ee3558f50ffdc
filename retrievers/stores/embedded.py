"""The embedded store: nothing to run and nothing to install beside numpy, faiss where it pays.

Vectors are the library's; the index is a cache of them under `index/`, in two parts as in a log-structured merge tree
(O'Neil et al., 1996): an immutable base on disk, and what was added and removed since, read from the library's journal
and searched exactly. The base is written anew when that rest has grown to a share of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from fovea.rag import trace
from fovea.rag.component import Component, SpeedOnly
from fovea.rag.corpus import Truth, VectorStore
from fovea.rag.errors import StoreError
from fovea.rag.filters import Filter
from fovea.rag.requirements import Requirement, package
from fovea.rag.types import Scalar
from fovea.retrievers.stores import graph
from fovea.retrievers.stores.exact import Pairs, candidates, rank
from fovea.retrievers.stores.graph import Kind
from fovea.retrievers.stores.levels import Level, Levels

if TYPE_CHECKING:
    import numpy as np

SPARE = 16
"""Rows asked of a graph beyond twice `k`, to be ranked exactly."""


class EmbeddedStore(VectorStore, name="embedded"):
    """Exact search, HNSW or inverted lists over files in `path`."""

    folder = "index"

    index: Literal["auto", "flat", "hnsw", "ivf"] = "auto"
    """`flat` compares with every vector; `hnsw` (Malkov and Yashunin, 2018) and `ivf` (Sivic and Zisserman, 2003) find
    nearly all of the nearest in much less time, and need faiss. `auto` is flat up to `flat_rows`, then hnsw."""
    flat_rows: PositiveInt = 100_000
    """Rows up to which `auto` stays exact."""
    ef: PositiveInt = 128
    """hnsw: candidates kept while searching; more find more."""
    nprobe: PositiveInt = 32
    """ivf: lists read for a question; more find more."""
    device: SpeedOnly[Literal["auto", "cpu", "gpu"]] = "auto"
    """Where flat search runs. `auto` takes a GPU where an installed faiss-gpu finds one; of scores that are equal in
    single precision at the last rank, a GPU may then keep another one."""

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """faiss, where a graph or lists are asked for."""
        yield from super().requirements(encoder)
        if self.index in ("hnsw", "ivf"):
            yield package("faiss", "faiss", f"index {self.index}")

    @property
    def shared(self) -> bool:
        """Files are never changed, but replaced."""
        return True

    def open(self, truth: Truth, *, read_only: bool = False) -> EmbeddedIndex:
        """Open the index; a damaged or missing cache is read from the library instead, with a warning."""
        if self.device == "gpu" and not graph.gpus():
            raise StoreError(
                "device gpu was asked for, and the installed faiss finds no GPU",
                where="store.device",
                fix='pip install "fovea-rag[gpu]" in place of fovea-rag[faiss], or set device: auto',
            )
        return EmbeddedIndex(self, truth, read_only=read_only)

    def choose(self, rows: int) -> tuple[Kind, str]:
        """Which index is used for so many rows, and why."""
        if self.index != "auto":
            return self.index, "asked for"
        if rows <= self.flat_rows:
            return "flat", f"no more than {self.flat_rows:,} rows: comparing with all of them is exact and fast"
        if not graph.available():
            return "flat", 'more rows than flat_rows, but faiss is not installed: pip install "fovea-rag[faiss]"'
        return "hnsw", f"more than {self.flat_rows:,} rows"


class EmbeddedIndex:
    """The open index. It follows the library, also when another process writes to that."""

    def __init__(self, store: EmbeddedStore, truth: Truth, *, read_only: bool = False) -> None:
        if store.index in ("hnsw", "ivf"):
            graph.faiss(f"index {store.index}")
        self._store, self._truth, self._read_only = store, truth, read_only
        gpu = store.device != "cpu" and graph.gpus() > 0
        self._levels = Levels(store.path / store.folder, truth, store.choose, gpu=gpu)

    def sync(self) -> int:
        """Write the base anew where that is due; returns how many rows came or went since it was written."""
        self._refuse_read_only()
        try:
            return self._levels.sync()
        except OSError as error:
            self._warn(error)
            return 0

    def search(self, vector: np.ndarray, k: int, where: Filter | None = None) -> Pairs:
        """The `(no, inner product)` of the `k` nearest chunks, best first; with `flat`, exactly those."""
        import numpy as np

        levels, vector = self._levels.all(), np.ascontiguousarray(vector, np.float32)
        if levels and vector.shape != levels[0].vectors.shape[1:]:
            dim = levels[0].vectors.shape[1]
            raise StoreError(
                f"the question's vector has the shape {vector.shape}, those of the library have {dim} numbers",
                where=str(self._store.path),
                fix="the library was made anew with another encoder: open the pipeline again",
            )
        keep = None if where is None or k < 1 else self._truth.matching(where)
        nos, vectors = [], []
        for level in levels if k > 0 else ():
            found = self._candidates(level, vector, k, level.rows(keep))
            nos.append(level.nos[found])
            vectors.append(level.vectors[found])
        return rank(np.concatenate(nos), np.concatenate(vectors), vector, k) if nos else []

    def check(self) -> list[str]:
        """What is wrong with the files, compared byte by byte and row by row with the library."""
        return self._levels.problems()

    def rebuild(self) -> None:
        """Throw the files away and make them anew."""
        self._refuse_read_only()
        try:
            self._levels.forget()
            self._levels.write()
        except OSError as error:
            self._warn(error)

    def describe(self) -> dict[str, Scalar]:
        """Index and why, rows in the base, changes since, bytes on disk."""
        kind, why = self._store.choose(self._truth.count)
        return {"back-end": "embedded", "index": kind, "why": why, **self._levels.describe()}

    def close(self) -> None:
        """Let go of the files."""
        self._levels.close()

    def _candidates(self, level: Level, vector: np.ndarray, k: int, rows: np.ndarray | None) -> np.ndarray:
        """Positions of a level among which its best are looked for."""
        few = rows is not None and 2 * len(rows) < len(level.nos)
        if level.graph is None or few or (rows is not None and level.graph.kind == "flat"):
            return candidates(level.vectors, vector, k, rows)
        effort = self._store.ef if level.graph.kind == "hnsw" else self._store.nprobe
        found = level.graph.search(vector, min(2 * k + SPARE, len(level.nos)), effort, rows)
        if len(found) < min(k, len(level.nos) if rows is None else len(rows)):
            return candidates(level.vectors, vector, k, rows)
        return found

    def _warn(self, error: OSError) -> None:
        trace.warn(f"{self._store.path / 'index'} cannot be written ({error}); the index is read from the library")

    def _refuse_read_only(self) -> None:
        if self._read_only:
            raise StoreError("this index was opened for reading only", where=str(self._store.path))
