"""Every key is scored by a code of a few bits a number, and the best by their own rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys
from fovea.attention_retrieval.index.faiss_alone import faiss_alone
from fovea.attention_retrieval.index.ivf import sampled, spans
from fovea.attention_retrieval.index.kmeans import Steps
from fovea.attention_retrieval.index.state import part
from fovea.rag.errors import ModelError

NEEDED_BY = "engine fast_scan"
LEAST = 512
"""Keys below which nothing is coded and all are read."""


class FastScanEngine(Engine, name="fast_scan"):
    """4-bit product quantisation of rotated, centred keys, all of them scanned; the best `rerank` are read exactly.

        code(x) = PQ(R (x - mean))          q . x = (R q) . R (x - mean) + q . mean

    The last term is the same for every key, so it changes no order; the random rotation R spreads over all dimensions
    what is large in a few. There is no graph or cell to miss: what is lost, is lost to rounding. The time of a step
    grows with the text, at an eighth of the bytes of bf16 keys where two numbers share a code. Rows that are scored
    exactly are what counts as scanned; codes count as bytes. faiss's fast scan (André et al., arXiv 1704.07355).
    """

    packages: ClassVar[Mapping[str, str]] = {"faiss": "faiss"}

    dims: Literal[1, 2, 4] = 2
    """Numbers that share a code of 4 bits."""
    rerank: Annotated[float, Field(gt=0, le=1)] = 0.01
    """The part of the keys that each query reads exactly."""
    sample: PositiveInt = 8192
    """Keys that codes are learned from."""
    steps: Steps = 12
    """Steps of k-means for each group of `dims` numbers."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> FastScanIndex:
        """A rotation, codes learned from a sample, every key coded. O(keys * d^2)."""
        rows = sampled(keys, self.sample, seed)
        mean = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1], np.float32)
        width = -(-rows.shape[1] // self.dims) * self.dims
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0][: rows.shape[1]]
        index = FastScanIndex(self, keys, mean, turn.astype(np.float32), seed)
        if len(keys) >= LEAST:
            index.learn(rows)
        return index

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> FastScanIndex:
        """Raises ModelError where the state is not one of these keys."""
        mean, turn = part(state, "mean", np.float32, (None,)), part(state, "turn", np.float32, (None, None))
        seed, coded, learned, ready = (int(number) for number in part(state, "numbers", np.int64, (4,)))
        index = FastScanIndex(self, keys, mean, turn, seed)
        width = keys.width
        fits = mean.shape == (width,) and turn.shape == (width, -(-width // self.dims) * self.dims)
        if not fits or ((ready or "codes" in state) and coded != len(keys)) or not index.adopt(state, coded, learned):
            raise ModelError(
                f"the state of the fast_scan index does not fit its {len(keys)} keys of {width} numbers",
                fix="build the index again from the same text",
            )
        return index


class FastScanIndex(Index):
    """The mean and the rotation (d, width), and faiss's codes; none while there are few keys."""

    def __init__(self, engine: FastScanEngine, keys: Keys, mean: np.ndarray, turn: np.ndarray, seed: int) -> None:
        self.engine, self.keys, self.mean, self.turn, self.seed = engine, keys, mean, turn, seed
        self.codes: Any = None
        self.learned = 0

    def learn(self, rows: np.ndarray) -> None:
        """Learn codes from `rows`, and code every key."""
        with faiss_alone(NEEDED_BY):
            codes = self._codes()
            codes.train(self._turned(rows))
            for low, high in spans(self.keys.start, self.keys.stop):
                codes.add(self._turned(self.keys.matrix(low, high)))
        self.codes, self.learned = codes, len(self.keys)

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best of the rows whose codes are best for any query of the group."""
        from fovea.attention_retrieval.kernels.lists import distinct

        wanted = max(round(self.engine.rerank * len(self.keys)), 2 * k)
        if wanted >= len(self.keys) or self.codes is None:
            return self.keys.best(q, k)
        with faiss_alone(NEEDED_BY):
            coded = self.codes.search(np.ascontiguousarray(self.keys.lifted(q) @ self.turn), wanted)[1]
        rows = distinct(coded, self.keys.start, len(self.keys))
        ids, logits = self.keys.best_of(q, rows, k)
        read = self.codes.codes.size() + len(rows) * self.keys.rows.row_bytes
        return Found(ids, logits, len(rows), read)

    def insert(self, stop: int) -> None:
        """Code the new rows; where they are most of the text, codes are learned anew."""
        keys = Keys(self.keys.rows, self.keys.start, stop, self.keys.bias)
        if len(keys) >= max(4 * self.learned, LEAST):
            again = self.engine.build(keys, None, seed=self.seed)
            self.mean, self.turn, self.codes, self.learned = again.mean, again.turn, again.codes, again.learned
        elif self.codes is not None and stop > self.keys.stop:
            with faiss_alone(NEEDED_BY):
                self.codes.add(self._turned(keys.matrix(self.keys.stop, stop)))
        self.keys = keys

    def state(self) -> dict[str, np.ndarray]:
        """Mean, rotation, the code book and the codes as faiss packs them, and four numbers."""
        numbers = np.array([self.seed, len(self.keys), self.learned, self.codes is not None])
        state = {"mean": self.mean, "turn": self.turn, "numbers": numbers}
        if self.codes is not None:
            with faiss_alone(NEEDED_BY) as faiss:
                state["book"] = faiss.vector_to_array(self.codes.pq.centroids)
                state["codes"] = faiss.vector_to_array(self.codes.codes)
        return state

    def adopt(self, state: Mapping[str, np.ndarray], coded: int, learned: int) -> bool:
        """Take over codes that were kept; False where their number is not that of the keys."""
        if "codes" not in state:
            return True
        with faiss_alone(NEEDED_BY) as faiss:
            codes = self._codes()
            blocks = -(-coded // codes.bbs) * codes.bbs
            book, packed = part(state, "book", np.float32, (None,)), part(state, "codes", np.uint8, (None,))
            if len(book) != codes.pq.centroids.size() or len(packed) != blocks * codes.M2 // 2:
                return False
            faiss.copy_array_to_vector(np.ascontiguousarray(book), codes.pq.centroids)
            faiss.copy_array_to_AlignedTable(np.ascontiguousarray(packed), codes.codes)
            codes.is_trained, codes.ntotal, codes.ntotal2 = True, coded, blocks
        self.codes, self.learned = codes, learned
        return True

    @property
    def nbytes(self) -> int:
        """What the state takes, without making it."""
        coded = self.codes.codes.size() + 4 * self.codes.pq.centroids.size() if self.codes is not None else 0
        return int(self.mean.nbytes + self.turn.nbytes + coded)

    def _codes(self) -> Any:
        with faiss_alone(NEEDED_BY) as faiss:
            width = self.turn.shape[1]
            codes = faiss.IndexPQFastScan(width, width // self.engine.dims, 4, faiss.METRIC_INNER_PRODUCT)
        codes.pq.cp.seed, codes.pq.cp.niter, codes.pq.cp.min_points_per_centroid = self.seed, self.engine.steps, 1
        return codes

    def _turned(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray((rows - self.mean) @ self.turn)
