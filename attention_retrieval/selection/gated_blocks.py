"""Blocks by gates: a learned key stands for each block, made of its keys before RoPE, and queries choose among these.

What is read of a step is the best blocks of each kv head, `top_k` rows in all, and always the last one. Keys of blocks
are kept; that of the last, which fills up, is made anew as rows come.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
from pydantic import model_validator

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.selection.blocks import Blocks, rows_of
from fovea.attention_retrieval.selection.gated import PIECE, GatedSelection
from fovea.attention_retrieval.selection.reading import Chosen, RowsSelected
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors


class GatedBlocksSelection(GatedSelection):
    """What these have in common."""

    @model_validator(mode="after")
    def _fits(self) -> GatedBlocksSelection:
        if self.top_k < 2 * self.size:
            what = f"top_k ({self.top_k}) must hold two blocks of {self.size} rows: the last is always read"
            raise ValueError(what)
        return self

    @abstractmethod
    def empty(self, keys: Vectors, values: Vectors, start: int) -> GatedBlocksSelected:
        """The state before any row."""

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> GatedBlocksSelected:
        """The key of every block."""
        made = self.empty(keys, values, start)
        made.insert(stop)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> GatedBlocksSelected:
        """With the keys of its blocks."""
        made = self.empty(keys, values, start)
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        shape = (keys.heads, -(-(stop - start) // self.size), made.width)
        made.stop, made.block_keys = stop, part(state, "keys", np.float32, shape)
        if made.blocks:
            made.blocks.extend(stop)
        return made


class GatedBlocksSelected(RowsSelected):
    """The keys of blocks, (kv heads, blocks, `width`)."""

    settings: GatedBlocksSelection

    def __init__(self, settings: GatedBlocksSelection, keys: Vectors, values: Vectors, start: int, width: int) -> None:
        super().__init__(settings, keys, values, (start, start), "the blocks that learned gates choose")
        self.width = width
        self.blocks = Blocks(keys, values, start, size=settings.size, estimate=True) if settings.estimate else None
        self.block_keys = np.zeros((keys.heads, 0, width), np.float32)

    @abstractmethod
    def keyed(self, pooled: np.ndarray, first: np.ndarray) -> np.ndarray:
        """The keys of blocks that begin at the rows `first` (blocks,), of their `pooled` (kv heads, blocks, 3 d)."""

    @abstractmethod
    def scores(self, q: np.ndarray) -> np.ndarray:
        """What the queries (kv heads, group, d) of row `now` want of each block, (kv heads, blocks)."""

    def choose(self, q: np.ndarray) -> Chosen:
        """The best blocks of each kv head, and the last."""
        size, count = self.settings.size, self.block_keys.shape[1]
        wanted = min(self.settings.top_k // size, count) - 1
        found = np.argpartition(-self.scores(q)[:, :-1], wanted - 1, axis=1)[:, :wanted]
        chosen = np.concatenate([np.sort(found, axis=1), np.full((len(q), 1), count - 1)], axis=1)
        scanned = -(-count * self.width // self.keys.d)
        return Chosen(rows_of(chosen, self.start, self.stop, size), scanned, self.block_keys[0].nbytes)

    def insert(self, stop: int) -> None:
        """Keys of the blocks that have come, and of the one that was not full."""
        size = self.settings.size
        whole = (self.stop - self.start) // size
        made, low = [self.block_keys[:, :whole]], self.start + whole * size
        step = max(PIECE // size, 1) * size
        for at in range(low, stop, step):
            raw = pooled(self.settings.before_rope(self.keys, at, min(at + step, stop)), size)
            made.append(self.keyed(raw, at + size * np.arange(raw.shape[1])).astype(np.float32))
        self.block_keys, self.stop = np.concatenate(made, axis=1), stop
        if self.blocks:
            self.blocks.extend(stop)

    def state(self) -> dict[str, np.ndarray]:
        """The keys of blocks, and which rows."""
        return {"keys": self.block_keys, "rows": np.array([self.start, self.stop], np.int64)}


def pooled(keys: np.ndarray, size: int) -> np.ndarray:
    """The largest, the least and the mean of each block of `size` rows by channel: of (heads, rows, d), (heads, blocks,
    3 d). The last block may be short.
    """
    edges = np.arange(0, keys.shape[1], size)
    sizes = np.diff(np.append(edges, keys.shape[1]))[:, None].astype(np.float32)
    most, least, total = (each.reduceat(keys, edges, axis=1) for each in (np.maximum, np.minimum, np.add))
    return np.concatenate([most, least, total / sizes], axis=2)
