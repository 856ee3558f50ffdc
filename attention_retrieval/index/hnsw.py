"""HNSW by inner product: faiss draws the graph, our kernel walks it over the cache's own rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys
from fovea.attention_retrieval.index.faiss_alone import faiss_alone
from fovea.attention_retrieval.index.ivf import spans
from fovea.attention_retrieval.index.state import part, within
from fovea.rag.errors import ModelError

Beam = Annotated[int, Field(ge=1, le=1 << 20)]
MOST_LEVELS = 64
"""Layers of a graph that nothing drew: each is a hundredth of the one below."""


class HnswEngine(Engine, name="hnsw"):
    """A hierarchical navigable small world graph of the keys, linked by inner product (Malkov and Yashunin, 2018).

    Links join keys to keys, while queries come from elsewhere, so a model's own vectors want wide walks
    (RetrievalAttention, arXiv 2409.10516): it is here to be compared with. A walk begins at all nodes of the third
    layer and up, and follows the lowest. faiss needs float32 keys while it links, so building and each insertion copy
    them for as long as they run; what is kept is 2 `links` int32 a key. O(keys * log(keys) * d) to build, and slow.
    """

    packages: ClassVar[Mapping[str, str]] = {"faiss": "faiss"}

    links: Annotated[int, Field(ge=1, le=512)] = 32
    """Links a node (M); twice as many in the lowest layer."""
    ef_build: Beam = 40
    """Nodes kept in view while linking (efConstruction)."""
    ef: Beam = 256
    """Nodes kept in view while searching (efSearch), at least k."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> HnswIndex:
        """Links every key, in the order of the text."""
        none = np.empty(0, np.int32)
        index = HnswIndex(self, Keys(keys.rows, keys.start, keys.start, keys.bias), none, none, -1, seed)
        index.insert(keys.stop)
        return index

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> HnswIndex:
        """Raises ModelError where the state is not one of these keys."""
        links, levels = part(state, "links", np.int32, (None,)), part(state, "levels", np.int32, (None,))
        entry, seed = (int(number) for number in part(state, "numbers", np.int64, (2,)))
        within(levels, "levels", 1, MOST_LEVELS)
        fits = len(levels) == len(keys) and len(links) == self.links * (levels.sum() + len(levels))
        if not fits or not -1 <= entry < len(keys) or (len(links) and not -1 <= links.min() <= links.max() < len(keys)):
            raise ModelError(
                f"the state of the hnsw index does not fit its {len(keys)} keys: "
                f"{len(levels)} nodes, {len(links)} links",
                fix="build the index again from the same text",
            )
        return HnswIndex(self, keys, links, levels, entry, seed)


class HnswIndex(Index):
    """faiss's arrays: links of node after node, the lowest layer first; how many layers each has; the entry point."""

    def __init__(
        self, engine: HnswEngine, keys: Keys, links: np.ndarray, levels: np.ndarray, entry: int, seed: int
    ) -> None:
        self.engine, self.keys, self.seed = engine, keys, seed
        self._take(links, levels, entry)

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best rows that each query's walk met."""
        from fovea.attention_retrieval.kernels.hnsw import Graph, walk

        ef, width = max(self.engine.ef, k), 2 * self.engine.links
        if ef >= len(self.keys):
            return self.keys.best(q, k)
        keys = self.keys
        graph = Graph(keys.start, self.links, self.offsets, width, self.entries)
        ids, logits, distinct, reads, left = walk(keys.rows.stored, keys.bias, q, graph, ef)
        return Found(
            np.ascontiguousarray(ids[:, :k]),
            np.ascontiguousarray(logits[:, :k]),
            distinct,
            reads * keys.rows.row_bytes + left * width * 4,
        )

    def insert(self, stop: int) -> None:
        """Links the new rows. Copies every key to float32 while it runs, so rows had better come many at a time."""
        keys = Keys(self.keys.rows, self.keys.start, stop, self.keys.bias)
        if stop > self.keys.stop:
            with faiss_alone("engine hnsw") as faiss:
                graph = self._graph(faiss)
                for low, high in spans(self.keys.stop, stop):
                    graph.add(keys.matrix(low, high))
                arrays = faiss.vector_to_array(graph.hnsw.neighbors), faiss.vector_to_array(graph.hnsw.levels)
                self._take(*arrays, graph.hnsw.entry_point)
        self.keys = keys

    def state(self) -> dict[str, np.ndarray]:
        """Links, layers, entry point and seed."""
        return {"links": self.links, "levels": self.levels, "numbers": np.array([self.entry, self.seed])}

    def _take(self, links: np.ndarray, levels: np.ndarray, entry: int) -> None:
        self.links, self.levels, self.entry = links, levels, entry
        ends = np.cumsum((levels.astype(np.int64) + 1) * self.engine.links)
        self.offsets = np.concatenate([np.zeros(1, np.int64), ends])[: len(levels)]
        upper = np.flatnonzero(levels > 2)
        self.entries = np.union1d(upper, [entry] if entry >= 0 else []).astype(np.int32)

    def _graph(self, faiss: Any) -> Any:
        """faiss's index over the keys that are linked already."""
        width = self.keys.width
        graph = faiss.IndexHNSWFlat(width, self.engine.links, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction, graph.hnsw.rng = self.engine.ef_build, faiss.RandomGenerator(self.seed)
        if len(self.keys):
            graph.storage.add(self.keys.matrix())
            ends = np.concatenate([self.offsets, [len(self.links)]]).astype(np.uint64)
            faiss.copy_array_to_vector(np.ascontiguousarray(self.links), graph.hnsw.neighbors)
            faiss.copy_array_to_vector(np.ascontiguousarray(self.levels), graph.hnsw.levels)
            faiss.copy_array_to_vector(ends, graph.hnsw.offsets)
            graph.hnsw.entry_point, graph.hnsw.max_level = self.entry, int(self.levels.max()) - 1
            graph.ntotal = len(self.keys)
        return graph
