"""What clusters weigh to a block's queries, what stands for their rows, and how far that is off.

The formulas are `wave.py`'s: logits with half the variance that the queries see, values that move with the query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fovea.attention_retrieval.columns import Means, Width
from fovea.attention_retrieval.prefill.prefill import Block

if TYPE_CHECKING:
    import torch

    from fovea.attention_retrieval.tree import Tree


def errors_of(
    tree: Tree, head: int, asked: torch.Tensor, lse: torch.Tensor, wide: torch.Tensor, price: float
) -> list[torch.Tensor]:
    """Of a head's clusters by level, the finest first, for its queries (queries, d); `lse` of its near rows, (queries).

    From the largest down. One of no more than `price` is not divided, as its parts would cost as much by themselves: it
    has none then, and what it is made of, at which nobody looked, infinite ones.
    """
    import torch

    errors = [torch.full_like(level.spread[head], torch.inf) for level in tree.levels]
    judged, parts = [], torch.arange(len(errors[-1]), device=asked.device)
    for number in reversed(range(len(errors))):
        level = tree.levels[number]
        spread, sizes, keys = (each[head] for each in (level.spread, level.sizes, level.keys))
        if number < len(errors) - 1:
            spread, sizes, keys = spread[parts], sizes[parts], keys[parts]
        x = wide[:, None] * spread
        logits = torch.addmm(sizes.log() + x, asked, keys.T)
        whole = torch.logaddexp(lse, logits.logsumexp(dim=1))
        large = _squared(logits, whole, x) > (price if number else -1)
        errors[number][parts] = 0
        judged.append((number, parts[large], logits[:, large], x[:, large]))
        lse = torch.logaddexp(lse, logits[:, ~large].logsumexp(dim=1)) if number else whole
        if number:
            divided = torch.zeros_like(errors[number], dtype=torch.bool).scatter_(0, parts[large], True)
            parts = divided[level.above[head]].nonzero()[:, 0]
    for number, those, logits, x in judged:
        errors[number][those] = _squared(logits, lse, x)
    return errors


def _squared(logits: torch.Tensor, lse: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Mean of w^2 x over the queries: (clusters)."""
    return (logits - lse[:, None]).exp_().square_().mul_(x).mean(dim=0)


def wide_of(asked: torch.Tensor, tree: Tree) -> torch.Tensor:
    """q' A q / 2 of (heads, queries, d)."""
    return (asked @ _of_trace(tree.around, tree) * asked).sum(dim=2).clamp(0) / 2


def _of_trace(moment: torch.Tensor, tree: Tree) -> torch.Tensor:
    return moment / tree.around.diagonal(dim1=-2, dim2=-1).sum(dim=-1).clamp(1e-30)[:, None, None]


def means_of(block: Block, tree: Tree, taken: list[torch.Tensor], head: int, most: float) -> Means:
    """What stands for the rows of a head's clusters, none of a mean square distance over `most`."""
    import torch

    ids = [those.nonzero()[:, 0] for those in taken]

    def of(field: str) -> torch.Tensor:
        return torch.cat([getattr(level, field)[head, those] for level, those in zip(tree.levels, ids)])

    keys, values, spread = (of(field).to(block.keys) for field in ("keys", "values", "spread"))
    around, cross = (_of_trace(each, tree)[head].to(block.keys) for each in (tree.around, tree.cross))
    return Means(keys, values, of("sizes").cpu().numpy(), Width(spread.clamp(max=most), around, cross))


def without(means: Means) -> Means:
    """No means at all."""
    return means._replace(keys=means.keys[:0], values=means.values[:0], counts=np.zeros(0, np.float32))
