"""Blocks: equal stretches of a layer's rows, and what stands for each of them.

    key of block b = sum_t w_t k_t     value = sum_t w_t v_t     over its rows t, the weights w summing to 1
      mean       w_t = 1 / n           InfLLM's and MoBA's pooled key, BiFormer's region
      last       w_t ~ g^(n - 1 - t)   RAT: a running summary of which the last token's stands for the block
      queries    w_t ~ exp(p . k_t)    Combiner: p is the mean of the queries that were asked from inside the block
    bounds       per channel the least and the largest number of its keys     Quest
    rest of b    n_b - m rows of one key and one value, the mean of those of b that a step has not read

RAT's gate g is learnt by channel; here it is 1 / (1 + 2 / size), the middle of what training starts from, and weights
are scaled so that a block that is not full counts like others. Combiner counts a block once, because it is trained so;
here it counts its rows. (RAT: X. Wei et al., "RAT: bridging RNN efficiency and attention accuracy", 2025, arXiv
2507.04416. Combiner: H. Ren et al., 2021, arXiv 2107.05768.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors

Stands = Literal["bounds", "mean", "last", "queries"]
"""What stands for a block."""
PIECE = 1 << 14
"""Rows that are looked at together."""


class Blocks:
    """Block b of every head is the rows from `start` + b `size` on; the last may be short.

    `parts` are arrays (heads, blocks, d) float32: `low` and `high`, or `keys`, and `values` where rows are estimated.
    """

    def __init__(
        self, keys: Vectors, values: Vectors, start: int, *, size: int, by: Stands = "mean", estimate: bool = False
    ) -> None:
        self.keys, self.values, self.start, self.stop, self.size, self.by = keys, values, start, start, size, by
        names = (["low", "high"] if by == "bounds" else []) + (["keys"] if by != "bounds" or estimate else [])
        empty = np.zeros((keys.heads, 0, keys.d), np.float32)
        self.parts = {name: empty for name in [*names, *(["values"] if estimate else [])]}

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each block, (blocks,)."""
        return np.diff(np.append(np.arange(self.start, self.stop, self.size), self.stop))

    @property
    def per_block(self) -> int:
        """Vectors that are looked at of a block, to choose."""
        return 2 if self.by == "bounds" else 1

    def extend(self, stop: int, asked: np.ndarray | None = None) -> None:
        """Take in the rows up to `stop`. O(rows d). `asked` (heads, blocks, d) is p of every block; none is 0.

        A block that was not full is made anew, with even weights where `asked` is not given.
        """
        whole = (self.stop - self.start) // self.size
        low, made = self.start + whole * self.size, {name: [old[:, :whole]] for name, old in self.parts.items()}
        step = max(PIECE // self.size, 1) * self.size
        for at in range(low, stop, step):
            end = min(at + step, stop)
            mine = slice((at - self.start) // self.size, -(-(end - self.start) // self.size))
            new = [
                self._stretch(head, at, end, None if asked is None else asked[head, mine])
                for head in range(self.keys.heads)
            ]
            for name, parts in made.items():
                parts.append(np.stack([each[name] for each in new]))
        self.parts, self.stop = {name: np.concatenate(each, axis=1) for name, each in made.items()}, stop

    def pooled(self, queries: Queries, stop: int) -> np.ndarray:
        """p of every block up to `stop`, (heads, blocks, d): the mean of its queries, those of the group together."""
        from fovea.attention_retrieval.kernels.lists import sums

        count = -(-(stop - self.start) // self.size)
        pooled = np.zeros((self.keys.heads, count, self.keys.d), np.float32)
        for head in range(self.keys.heads):
            mine, rows = queries(head), queries.rows(head)
            if mine is None or not len(rows):
                continue
            block = np.repeat((rows - self.start) // self.size, len(mine) // len(rows))
            here = (block >= 0) & (block < count)
            total, asked = sums(np.ascontiguousarray(mine[here]), block[here].astype(np.int32), count)
            pooled[head] = total / np.maximum(asked, 1)[:, None]
        return pooled

    def scores(self, q: np.ndarray) -> np.ndarray:
        """What each block promises, (heads, queries, blocks): of bounds the largest logit that a row of it can have."""
        parts = {name: each.transpose(0, 2, 1) for name, each in self.parts.items()}
        if self.by != "bounds":
            return np.asarray(q @ parts["keys"])
        return np.asarray(np.maximum(q, 0) @ parts["high"] + np.minimum(q, 0) @ parts["low"])

    def rows(self, blocks: np.ndarray) -> np.ndarray:
        """The rows of blocks (heads, n) in ascending order, (heads, n size) int32, -1 behind the last."""
        return rows_of(blocks, self.start, self.stop, self.size)

    def rest(self, q: np.ndarray, ids: np.ndarray) -> Partial:
        """Attention of q (heads, queries, d) to the rows that are not among `ids` (heads, n), each block's as one."""
        keys, values, left = self._unread(ids)
        logits = q @ keys.transpose(0, 2, 1)
        with np.errstate(divide="ignore"):
            logits = logits + np.log(left)[:, None]
        most = logits.max(axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(logits - np.where(np.isneginf(most), 0, most))
        total = weights.sum(axis=-1, keepdims=True)
        out = weights @ values / np.where(total > 0, total, 1)
        with np.errstate(divide="ignore"):
            return Partial(out.astype(np.float32), (most + np.log(total))[..., 0].astype(np.float32))

    def restored(self, state: Mapping[str, np.ndarray], stop: int) -> Blocks:
        """With the parts of a state; raises StoreError where they are not of rows [start, stop)."""
        self.stop = stop
        shape = (self.keys.heads, len(self.sizes), self.keys.d)
        self.parts = {name: part(state, name, np.float32, shape) for name in self.parts}
        if self.by == "bounds" and (self.parts["low"] > self.parts["high"]).any():
            raise damaged("part 'low' is above part 'high'")
        return self

    def _unread(self, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Keys and values that stand for what was not read of each block, and how many rows that is."""
        heads, sizes = len(ids), self.sizes
        place = np.where(ids >= 0, np.arange(heads)[:, None] * len(sizes) + (ids - self.start) // self.size, -1)
        read = np.bincount(place[place >= 0], minlength=heads * len(sizes)).reshape(heads, -1)
        left, keys, values = sizes - read, self.parts["keys"], self.parts["values"]
        partly = (read > 0) & (left > 0)
        if partly.any():
            keys, values = (
                self._without(means, vectors, ids, partly, left)
                for means, vectors in ((keys, self.keys), (values, self.values))
            )
        return keys, values, left.astype(np.float32)

    def _without(
        self, means: np.ndarray, vectors: Vectors, ids: np.ndarray, partly: np.ndarray, left: np.ndarray
    ) -> np.ndarray:
        """The means without the rows `ids`, of the blocks that were read in part."""
        from fovea.attention_retrieval.kernels.lists import sums
        from fovea.attention_retrieval.kernels.take import take

        means = means.copy()
        for head in np.flatnonzero(partly.any(axis=1)).tolist():
            mine, here = ids[head][ids[head] >= 0], partly[head]
            mine = mine[here[(mine - self.start) // self.size]]
            blocks = ((mine - self.start) // self.size).astype(np.int32)
            gone = sums(take(vectors.head(head).stored, mine), blocks, len(here))[0]
            whole = means[head] * self.sizes[:, None] - gone
            means[head, here] = whole[here] / left[head, here, None]
        return means

    def _stretch(self, head: int, low: int, stop: int, asked: np.ndarray | None) -> dict[str, np.ndarray]:
        """The parts of one head's blocks from row `low` to `stop`."""
        keys, edges = self.keys.head(head).block(low, stop), np.arange(0, stop - low, self.size)
        made = {}
        if "low" in self.parts:
            made = {"low": np.minimum.reduceat(keys, edges), "high": np.maximum.reduceat(keys, edges)}
        if "keys" in self.parts:
            weights = self._weights(keys, edges, asked)[:, None]
            made["keys"] = np.add.reduceat(keys * weights, edges)
            if "values" in self.parts:
                made["values"] = np.add.reduceat(self.values.head(head).block(low, stop) * weights, edges)
        return made

    def _weights(self, keys: np.ndarray, edges: np.ndarray, asked: np.ndarray | None) -> np.ndarray:
        """w of each row."""
        sizes = np.diff(np.append(edges, len(keys)))
        logits = np.zeros(len(keys), np.float32)
        if self.by == "last":
            logits = (np.arange(len(keys)) * -np.log1p(-2 / (self.size + 2))).astype(np.float32)
        elif self.by == "queries" and asked is not None:
            logits = (np.repeat(asked, sizes, axis=0) * keys).sum(axis=1)
        weights = np.exp(logits - np.repeat(np.maximum.reduceat(logits, edges), sizes))
        return np.asarray(weights / np.repeat(np.add.reduceat(weights, edges), sizes))


def rows_of(blocks: np.ndarray, start: int, stop: int, size: int) -> np.ndarray:
    """The rows of blocks (heads, n), in order, of `size` rows from `start` on: (heads, n size) int32, -1 for none."""
    ids = (start + blocks[:, :, None] * size + np.arange(size)).reshape(len(blocks), -1)
    return np.where(ids < stop, ids, -1).astype(np.int32)


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """The `count` best of each head's, by the query that wants each most: (heads, count), ascending.

    Scores (heads, queries, n) are counted below the best of each query, so the first choice of each is taken, and a
    query of larger logits does not outvote the others. Minus infinity, for the others, where there is none.
    """
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    wanted = (scores - np.where(np.isneginf(top), 0, top)).max(axis=1)
    if count >= wanted.shape[1]:
        return np.broadcast_to(np.arange(wanted.shape[1]), wanted.shape).copy()
    return np.sort(np.argpartition(-wanted, count - 1, axis=1)[:, :count], axis=1)
