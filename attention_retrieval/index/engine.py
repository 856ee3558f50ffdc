"""Engine: an index over the keys of one kv head, searched by the queries of its group at each decoded token.

    index = FlatEngine().build(Keys(rows, start=128, stop=32_000), queries=None, seed=0)
    found = index.search(q, k=100)          # q (queries, d), times the attention's scaling already
    index.insert(33_000)                    # rows 32,000 to 33,000 have come
    arrays = index.state(); index = engine.restore(keys, arrays)

The engine is a component: its fields are its settings. The index is its state. Keys are not copied: they stay in the
cache's slabs, and every engine scores the rows it returns from there, so the logits of what is found are always exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np

from fovea.attention_retrieval.vectors import Rows
from fovea.rag.component import Component

NO_BIAS = np.empty(0, np.float32)


@dataclass
class Keys:
    """Rows `start` to `stop` of a head; ids are row numbers of the head, so positions in the text.

    `bias` (rows of the head or more,) is added to the logit of each row: a log-weight, drawn by a correction.
    """

    rows: Rows
    start: int
    stop: int
    bias: np.ndarray = field(default_factory=lambda: NO_BIAS)

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def width(self) -> int:
        """Numbers in a row of `matrix`."""
        return self.rows.d + bool(len(self.bias))

    def matrix(self, start: int | None = None, stop: int | None = None) -> np.ndarray:
        """The rows as float32 (tokens, d), with the bias as one more column where there is one."""
        low, high = self.start if start is None else start, self.stop if stop is None else stop
        block = self.rows.block(low, high)
        return np.column_stack([block, self.bias[low:high]]) if len(self.bias) else block

    def lifted(self, q: np.ndarray) -> np.ndarray:
        """Queries to match `matrix`: with a one for the bias, where there is one."""
        return np.column_stack([q, np.ones(len(q), np.float32)]) if len(self.bias) else q

    def best_of(self, q: np.ndarray, ids: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best for each query among rows `ids`, each named once: ids and logits, (queries, k). Reads the rows."""
        from fovea.attention_retrieval.kernels.top_k import gather_top_k

        return gather_top_k(self.rows.stored, self.bias, q, ids.astype(np.int32), k)

    def best(self, q: np.ndarray, k: int, start: int | None = None, stop: int | None = None) -> Found:
        """The k best of all of [start, stop), exactly: every row is read."""
        from fovea.attention_retrieval.kernels.top_k import scan_top_k

        low, high = self.start if start is None else start, self.stop if stop is None else stop
        ids, logits = scan_top_k(self.rows.stored, self.bias, np.ascontiguousarray(q), low, high, k)
        return Found(ids, logits, high - low, (high - low) * self.rows.row_bytes)


class Found(NamedTuple):
    """What a search brought, best first.

    ids (queries, k) are rows, -1 where fewer were found; logits (queries, k) are q . key + bias, minus infinity there.
    """

    ids: np.ndarray
    logits: np.ndarray
    scanned: int
    """Vectors of full width that were scored, centroids too, for the group together."""
    bytes: int
    """Bytes that were read: codes, ids, centroids and vectors."""


def recall(found: np.ndarray, best: np.ndarray) -> np.ndarray:
    """The share of each query's `best` rows (queries, k) that are among the `found` ones: (queries,); -1 is no row."""
    shares = [len(np.intersect1d(a[a >= 0], b[b >= 0])) / max((b >= 0).sum(), 1) for a, b in zip(found, best)]
    return np.array(shares)


class Index(ABC):
    """An engine's state over one head."""

    keys: Keys

    @abstractmethod
    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best rows for each of the queries (queries, d); the group may share the work. Changes nothing."""

    @abstractmethod
    def insert(self, stop: int) -> None:
        """Take in the rows from `keys.stop` to `stop`. What fails leaves the index as it was."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything besides the keys, as arrays: `Engine.restore` makes the same index of it."""

    def repair(self, q: np.ndarray, exact: np.ndarray) -> None:
        """Learn from queries (queries, d) whose best rows `exact` (queries, k) an audit has found; may do nothing."""
        return

    @property
    def nbytes(self) -> int:
        """Bytes of the index itself; the keys and values belong to the cache."""
        return sum(array.nbytes for array in self.state().values())


class Engine(Component, kind="engine"):
    """Builds indexes. Built-ins live in `attention_retrieval/index/`, one file each."""

    needs_queries: ClassVar[bool] = False
    """Whether `build` learns from the prefill's queries."""

    @abstractmethod
    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> Index:
        """An index over `keys`.

        `queries` (n, d) are those that the prefill of this head's group made, times the scaling, in order of their
        positions; the last ones are most like the queries to come. The same arguments build the same index.
        """

    @abstractmethod
    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> Index:
        """The index that gave `state`, over the same keys. Arrays may be mapped from a file: read-only."""
