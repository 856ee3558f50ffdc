"""HyperAttention: keys that a hash puts near the queries are read exactly, a sample stands for all others.

    rank      the place of sign(x . p_1..p_b) in Gray-code order: neighbours differ by one hyperplane
    piece     the text before a block's own `exact` tokens, cut into powers of two times `exact`: what halving a causal
              map over and over leaves of full squares below its diagonal
    U         of a piece's keys, sorted by rank, the `bucket` about the rank of each query head's mean query
    out ~     sum over U of exp(s_i) v_i  +  n / m sum over those of m draws from the piece's n keys not in U,
              and so the sum of exp(s_i): both unbiased; a draw in U is left out, or it would count twice

so a draw has the additive weight log(n / m). The release sorts queries as well, and lets 256 that are neighbours in
that order share a bucket; here the tokens of a block of the text do, because they share what is gathered (and are
alike: a cosine of .84 to .91 from one query to the next was measured). It draws hyperplanes once for each layer and
halves the prompt, whatever its length; here draws and pieces go by the seed and the position, so that a prompt in
pieces is read as the whole. On a GPU it does not leave the draws in U out. A model that was not trained for it finds
little that is far: a control.
(I. Han et al., "HyperAttention: Long-context attention in near-linear time", 2023, arXiv 2310.05869)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.key_blocks import BlockSize
from fovea.attention_retrieval.prefill.prefill import Block, Prefill


class HyperAttention(Prefill, name="hyper"):
    """What is near, what hashes alike, and a weighted sample."""

    exact: PositiveInt = 4096
    """Tokens of the stretches within which everything is read."""

    bucket: PositiveInt = 256
    """Keys of a piece that are read for a query head: those next to it in the order of the hash."""

    sample: Annotated[int, Field(ge=1, le=1 << 16)] = 256
    """Draws, with replacement, that stand for the others of a piece."""

    planes: Annotated[int, Field(ge=1, le=63)] = 7
    """Hyperplanes of the hash, a bit of its rank each."""

    block: BlockSize = 128
    """Tokens that share buckets and draws."""

    seed: NonNegativeInt = 0
    """Decides hyperplanes and draws."""

    @model_validator(mode="after")
    def _fits(self) -> HyperAttention:
        if self.exact % self.block:
            raise ValueError(f"exact must be a multiple of block ({self.block}), got {self.exact}")
        return self

    @property
    def rows(self) -> int:
        """A block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(rows * planes * d) a head for the hash, and of rows read O(exact + (bucket + sample) log(rows / exact))."""
        own = block.start // self.exact * self.exact
        if own <= block.sinks:
            return Columns([np.arange(block.start)])
        mean = block.queries.float().mean(dim=2).cpu().numpy()
        planes = np.random.default_rng(self.seed).normal(size=(mean.shape[2], self.planes)).astype(np.float32)
        if "ranks" not in block.memo:
            block.memo["ranks"] = [gray_rank(keys.float().cpu().numpy() @ planes) for keys in block.keys]
        each = [self.read(block, head, gray_rank(queries @ planes)) for head, queries in enumerate(mean)]
        return Columns([ids for ids, _ in each], bias=[weights for _, weights in each])

    def read(self, block: Block, head: int, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows that a head reads whose queries are of the ranks `asked`, and the log-weight of each row."""
        sinks, own = min(block.sinks, block.start), block.start // self.exact * self.exact
        ids, weights = [np.arange(sinks)], [np.zeros(sinks, np.float32)]
        for low, high in pieces(int(own), self.exact):
            near = low + in_buckets(block.memo["ranks"][head][low:high], asked, self.bucket)
            rng = np.random.default_rng([self.seed, head, block.start // self.block, low])
            drawn, times = np.unique(rng.integers(low, high, self.sample), return_counts=True)
            left = ~np.isin(drawn, near) & (drawn >= sinks)
            near = near[near >= sinks]
            each = np.concatenate([near, drawn[left]])
            odds = np.concatenate([np.ones(len(near)), times[left] * (high - low) / self.sample])
            order = np.argsort(each)
            ids.append(each[order])
            weights.append(np.log(odds[order]).astype(np.float32))
        rest = np.arange(max(own, sinks), block.start)
        return np.concatenate([*ids, rest]), np.concatenate([*weights, np.zeros(len(rest), np.float32)])


def in_buckets(ranks: np.ndarray, asked: np.ndarray, size: int) -> np.ndarray:
    """Which of keys with such ranks are, in their order, in the same `size` as the ranks `asked`, ascending."""
    order = np.argsort(ranks, kind="stable")
    ordered = ranks[order]
    middle = (np.searchsorted(ordered, asked) + np.searchsorted(ordered, asked, "right")) // 2
    bucket = np.minimum(middle, len(ranks) - 1) // size
    return np.flatnonzero(np.isin(np.argsort(order) // size, bucket))


def gray_rank(sides: np.ndarray) -> np.ndarray:
    """Where the signs of (n, planes) numbers stand in Gray-code order, (n,) int64."""
    bits = np.bitwise_xor.accumulate((sides > 0).astype(np.int64), axis=1)
    return np.asarray(bits @ (1 << np.arange(sides.shape[1])[::-1]), np.int64)


def pieces(end: int, size: int) -> Iterator[tuple[int, int]]:
    """[0, `end`), a multiple of `size`, as stretches of powers of two times `size`, the largest first."""
    low = 0
    for power in range((end // size).bit_length() - 1, -1, -1):
        if end // size >> power & 1:
            yield low, low + (size << power)
            low += size << power
