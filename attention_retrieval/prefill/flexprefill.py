"""FlexPrefill: each head's own pattern, by how the last queries of a block spread their attention over blocks of keys.

    P        attention of the block's last `size` queries to all rows; a its mean by blocks of `size` keys
    a^       softmax over key blocks of  mean query . mean key of the block
    D        sqrt(KL(a | m) / 2 + KL(a^ | m) / 2),  m = (a + a^) / 2          (Jensen-Shannon, 0 log 0 = 0)

    D >= tau     vertical-slash: the fewest columns, and the fewest diagonals, that hold `gamma` of P; so many blocks
                 of keys, and of offsets, those of largest mass
    D < tau      query-aware: `min_budget` of these, and of the map softmax(pooled q . pooled k) of all query blocks its
                 largest entries, until they sum up to gamma times the query blocks

Sinks, block 0 and the block itself are always read; up to `min_budget` tokens everything is. Choosing costs attention's
products for `size` queries of every 1,024, so an eighth of the whole.

The paper decides once, by the last queries of the prompt, and each query block reads its own part of the pattern. Here
every 1,024 tokens decide by their own last queries, and share their columns: all of that pattern, in units of `size`
(the public code counts in units of 128 whatever the block). A diagonal of tokens crosses two blocks: both are read.
(Lai et al., "FlexPrefill: A Context-Aware Sparse Attention Mechanism for Efficient Long-Sequence Inference", ICLR 2025,
arXiv 2502.20766)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, NonNegativeFloat, PositiveInt

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.key_blocks import rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill

if TYPE_CHECKING:
    import torch


class FlexPrefill(Prefill, name="flexprefill"):
    """Vertical-slash or query-aware blocks of keys, a query head its own."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The share of attention that is to be read; .95 in others' comparisons."""

    tau: NonNegativeFloat = 0.1
    """Below this distance of pooled and true attention, pooled queries choose."""

    size: PositiveInt = 128
    """Rows of a block of queries, and of keys."""

    min_budget: PositiveInt = 512
    """Tokens that a head reads at least, columns and diagonals each."""

    def columns(self, block: Block) -> Columns:
        """Blocks of keys, by query head."""
        if block.stop <= max(2 * self.size, self.min_budget):
            return Columns([np.arange(block.start)])
        weights, means = self.last(block), self.pooled(block.keys[:, : block.stop])
        true = self.by_block(weights.mean(dim=1))
        query = block.queries[:, :, -self.size :].mean(dim=2, keepdim=True)
        guess = (query @ means[:, None].transpose(2, 3)).float().softmax(dim=-1).flatten(0, 2)
        near = divergence(true, guess) < self.tau
        vertical, slash = self.vertical(weights.mean(dim=1), true, near), self.slash(weights, near, block)
        kept = vertical | slash | (self.aware(block, means) & near[:, None])
        kept[:, 0] = True
        each = [np.flatnonzero(mine) for mine in kept.cpu().numpy()]
        return Columns([rows_of(mine, self.size, block.sinks, block.start) for mine in each])

    def last(self, block: Block) -> torch.Tensor:
        """P, (query heads, size, rows)."""
        import torch

        queries = block.queries[:, :, -self.size :]
        logits = (queries @ block.keys[:, None, : block.stop].transpose(2, 3)).float()
        rows = torch.arange(block.stop, device=logits.device)
        return logits.masked_fill(rows > rows[-queries.shape[2] :, None], -torch.inf).softmax(dim=-1).flatten(0, 1)

    def vertical(self, columns: torch.Tensor, blocks: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """Blocks of the heaviest columns, (query heads, blocks) bool."""
        return largest(blocks, self.count(columns, near))

    def slash(self, weights: torch.Tensor, near: torch.Tensor, block: Block) -> torch.Tensor:
        """Blocks that the heaviest diagonals cross, for any of the block's queries, likewise."""
        import torch

        rows = torch.arange(block.stop, device=weights.device)
        at = rows[-weights.shape[1] :, None] - rows
        diagonals = (weights.gather(2, at.clamp(min=0).expand_as(weights)) * (at >= 0)).sum(dim=1)
        offsets = largest(self.by_block(diagonals), self.count(diagonals, near))
        kept = torch.zeros_like(offsets)
        for query in range(block.start // self.size, (block.stop - 1) // self.size + 1):
            flipped = offsets[:, : query + 1].flip(1)
            kept[:, : query + 1] |= flipped
            kept[:, :query] |= flipped[:, 1:]
        return kept

    def aware(self, block: Block, means: torch.Tensor) -> torch.Tensor:
        """Blocks that pooled queries choose, likewise."""
        import torch

        parts = [part.mean(dim=2) for part in block.queries.split(self.size, dim=2)]
        logits = torch.matmul(torch.stack(parts, dim=2), means[:, None].transpose(2, 3)).float().flatten(0, 1)
        keys = torch.arange(means.shape[1], device=logits.device)
        queries = (block.start + self.size * torch.arange(len(parts), device=logits.device)) // self.size
        share = logits.masked_fill(keys > queries[:, None], -torch.inf).softmax(dim=-1)
        flat, order = share.flatten(1).sort(dim=1, descending=True)
        chosen = (flat.cumsum(dim=1) <= self.gamma * len(parts)) & (flat > 0)
        return torch.zeros_like(chosen).scatter(1, order, chosen).view(share.shape).any(dim=1)

    def count(self, masses: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        """How many blocks the columns (or diagonals) would fill that hold gamma, (query heads,)."""
        sorted_masses = masses.sort(dim=1, descending=True).values
        needed = (sorted_masses.cumsum(dim=1) < self.gamma * masses.sum(dim=1, keepdim=True)).sum(dim=1) + 1
        least = -(-self.min_budget // self.size)
        return (needed // self.size + 1).clamp(min=least).masked_fill(near, least)

    def pooled(self, rows: torch.Tensor) -> torch.Tensor:
        """The mean of each block of rows, (kv heads, blocks, d)."""
        import torch

        return torch.stack([part.mean(dim=1) for part in rows.split(self.size, dim=1)], dim=1)

    def by_block(self, masses: torch.Tensor) -> torch.Tensor:
        """Sums over blocks, (query heads, blocks)."""
        import torch

        return torch.nn.functional.pad(masses, (0, -masses.shape[1] % self.size)).unflatten(1, (-1, self.size)).sum(2)


def largest(masses: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    """Which are among the `counts` largest of their head, (heads, blocks) bool."""
    ranks = masses.argsort(dim=1, descending=True).argsort(dim=1)
    return ranks < counts[:, None]


def divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The root of the Jensen-Shannon divergence of distributions (heads, blocks), in nats; zeros are no trouble."""
    import torch

    mean = (one + other) / 2
    parts = [(torch.xlogy(each, each) - torch.xlogy(each, mean)).sum(dim=1) for each in (one, other)]
    return ((parts[0] + parts[1]) / 2).clamp(min=0).sqrt()
