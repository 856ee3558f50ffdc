"""HiP: the keys that a block of queries wants are sought by halving chunks of the text, in stages.

    s(i)    = max over every `skip`-th query of the block, and over the group, of q . k_i
    chunk   [l, r): look at the middle of its left and of its right half, go into the half whose key scores more, until
            one key is left; the chunk's score is the best one seen on the way, of 2 log2(r - l)
    stage   score all chunks, keep the best, cut them into the chunks of the next
    read    sinks, the chunks that the last stage keeps, and the last `window` tokens before the block

What is wanted must show in its surroundings: a key that scores high all alone is met only by chance. Of equal halves
the right one is taken, so that a peak at the boundary, which is the right half's first key, is not passed by. The
release takes means of neighbouring queries, and counts positions anew in some layers; here queries and keys are as the
model rotated them. Tokens up to `dense_below` read everything before them.
(H. Lee et al., "A training-free sub-quadratic cost transformer model serving framework with hierarchically pruned
attention", 2024, arXiv 2406.09827; the stages are InfiniteHiP's, 2025, arXiv 2502.08910)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from pydantic import NonNegativeInt, PositiveInt, field_validator

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.key_blocks import BlockSize, rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill

if TYPE_CHECKING:
    import torch


class HiPPrefill(Prefill, name="hip_prefill"):
    """Stages of chunks, each halved down to the key that stands for it."""

    stages: tuple[tuple[PositiveInt, PositiveInt], ...] = ((256, 32768), (32, 8192), (8, 2048))
    """Tokens of a chunk, each stage's a multiple of the next one's, and how many tokens of the best chunks it keeps."""

    window: NonNegativeInt = 1024
    """The last tokens before a block, which it reads."""

    block: BlockSize = 64
    """Tokens that seek together."""

    skip: PositiveInt = 4
    """Every so many of them ask."""

    dense_below: NonNegativeInt = 8192
    """Tokens up to here read everything before them."""

    @field_validator("stages")
    @classmethod
    def _narrowing(cls, stages: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
        for (wide, _), (narrow, _) in pairwise(stages):
            if wide % narrow:
                raise ValueError(f"a stage's chunks are cut into the next one's: {wide} is no multiple of {narrow}")
        if not stages or any(keep < size for size, keep in stages):
            raise ValueError("stages are [tokens of a chunk, tokens kept], and keep a chunk at least")
        return stages

    @property
    def rows(self) -> int:
        """A block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(stages * chunks * log chunk * queries * d) a head: linear in what the first stage looks at, and in N."""
        far = block.start - self.window
        if block.start < self.dense_below or far <= block.sinks:
            return Columns([np.arange(block.start)])
        each = []
        for head, queries in enumerate(block.queries[:, :, :: self.skip]):
            chunks = self.found(_scorer(block.keys[head], queries), block.sinks, far)
            ids = rows_of(chunks, self.stages[-1][0], block.sinks, far)
            each.append(np.concatenate([ids, np.arange(far, block.start)]))
        return Columns(each)

    def found(self, score: Callable[[np.ndarray], np.ndarray], low: int, high: int) -> np.ndarray:
        """The chunks of the last stage's size, counted from token 0, that are kept of tokens `low` to `high`."""
        size = self.stages[0][0]
        chunks = np.arange(low // size, -(-high // size))
        for n, (size, keep) in enumerate(self.stages):
            if len(chunks) > keep // size:
                best, _ = descend(score, np.maximum(chunks * size, low), np.minimum((chunks + 1) * size, high))
                chunks = np.sort(chunks[np.argsort(-best, kind="stable")[: keep // size]])
            if n + 1 < len(self.stages):
                parts = size // self.stages[n + 1][0]
                chunks = (chunks[:, None] * parts + np.arange(parts)).ravel()
                narrow = self.stages[n + 1][0]
                chunks = chunks[(chunks * narrow < high) & ((chunks + 1) * narrow > low)]
        return chunks


def descend(
    score: Callable[[np.ndarray], np.ndarray], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best score met while each of [low, high) is halved to one token, and that token."""
    best, at = score((low + high) // 2), (low + high) // 2
    while (high - low > 1).any():
        middle = np.where(high - low > 1, (low + high) // 2, low)
        left, right = (low + middle) // 2, (middle + high) // 2
        scores = score(np.stack([left, right]))
        turn = (scores[1] >= scores[0]) | (high - low == 1)
        low, high = np.where(turn, middle, low), np.where(turn, high, middle)
        seen, where = np.where(turn, scores[1], scores[0]), np.where(turn, right, left)
        at, best = np.where(seen > best, where, at), np.maximum(seen, best)
    return best, at


def _scorer(keys: torch.Tensor, queries: torch.Tensor) -> Callable[[np.ndarray], np.ndarray]:
    """The best score of rows (rows, d) for any of the queries (group, n, d)."""
    flat = queries.flatten(0, 1).T

    def score(ids: np.ndarray) -> np.ndarray:
        rows = keys[ids.ravel()]
        return np.asarray((rows @ flat).amax(dim=1).float().cpu().numpy().reshape(ids.shape))

    return score
