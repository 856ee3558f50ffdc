"""Clusters of many sizes: rows one by one where it matters, the others by their means, to the second moment.

    logit of cluster c    q . k_c + log n_c + x_c        n_c rows, mean key k_c, mean value v_c
                          x_c = r_c q' A q / 2           r_c mean square distance of its keys from k_c
    its value             v_c + r_c B q
    A = S_kk / tr S_kk    B = S_vk / tr S_kk             S: sums of (k - k_c)(k - k_c)', (v - v_c)(k - k_c)'
    its error             e_c = mean of w_c^2 x_c        w_c its share of the attention, by this estimate; the mean is
                                                         over every 16th query of a block and the heads of a kv group

Clusters make a tree (`tree.py`): k-means of the keys as queries see them (k' M k of M = mean q q', inside a segment of
the text, made once), so that rows share one if queries do not tell them apart; the rows furthest from their mean, to
which attention often goes, stand alone at its lowest level. A block reads the cut through it with the least sum of
errors and `price` for each row and cluster: a cluster is divided where this takes more than `price` of squared error
off for each part. So nothing is dropped; what is not read is estimated. A block's own segment and `window` rows before
the block are read whole.

A head whose queries each look for a row of their own is not served by shared columns. So the estimate is checked: at
each `EACH`th block, for queries that were not asked before, against attention to everything; where the mean relative
error of one of its query heads is more than `tolerance`, a kv head's blocks read everything up to the next check.

RetroInfer (Y. Chen et al., arXiv 2505.02922) decodes so, by mean keys and values alone, of clusters by cosine; to read
prompts by it, the metric, the tree and its cut, the moments, and the check are ours. Quadratic in the text with a small
constant, as whatever lowest level there is has to be judged; 1 query in 16 judges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.columns import Columns, Means, Width
from fovea.attention_retrieval.prefill.prefill import Block, Prefill

if TYPE_CHECKING:
    import torch

    from fovea.attention_retrieval.tree import Tree

EVERY, CHECKED = 16, 32
"""One query of so many is asked what clusters weigh, and how far the estimate is off."""
EACH = 4
"""Blocks from check to check."""
RIDGE = 1e-3
"""Of the mean of M's diagonal, added to it."""


class WavePrefill(Prefill, name="wave"):
    """Near rows, rows that matter one by one, and the others by the means of clusters, small or large."""

    price: Annotated[float, Field(ge=0, le=1e6)] = 3e-7
    """Squared error that a row or a cluster more must take off; with 0 every row is read."""

    tolerance: Annotated[float, Field(ge=0)] = 0.25
    """Relative error above which a kv head reads everything."""

    sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (8, 32, 128)
    """Rows a cluster, on average, by level from the lowest."""

    alone: NonNegativeInt = 16
    """Rows of a segment that stand alone at the lowest level."""

    block: PositiveInt = 256
    """Rows that share their columns."""

    segment: PositiveInt = 1024
    """Rows of the text that are clustered together."""

    window: NonNegativeInt = 128
    """Rows before a block that are read whole."""

    steps: PositiveInt = 2
    """Steps of k-means."""

    dense_below: NonNegativeInt = 2048
    """Blocks with fewer rows before them read them all."""

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(block / 16 * clusters) products a query head to choose."""
        far = max(block.start - self.window, 0) // self.segment * self.segment
        sinks = min(block.sinks, far)
        if far <= sinks or block.start < self.dense_below or not self.price:
            return Columns([np.arange(block.start)])
        tree = self._tree(block, sinks, far)
        taken = self._taken(block, tree, sinks, far)
        rows, near = taken[0].cpu().numpy(), [np.arange(sinks), np.arange(far, block.start)]
        ids = [np.concatenate([near[0], np.flatnonzero(each) + sinks, near[1]]) for each in rows]
        means = [_means(block, tree, [each[head] for each in taken[1:]], head) for head in range(len(ids))]
        for head in self._unserved(block, ids, means):
            ids[head], means[head] = np.arange(block.start), _none(means[head])
        return Columns(ids, means=means)

    def _taken(self, block: Block, tree: Tree, sinks: int, far: int) -> list[torch.Tensor]:
        """Rows, and clusters of each level, that the block reads: (heads, those) bool."""
        import torch

        from fovea.attention_retrieval.tree import cut

        asked = _some(block.queries, EVERY, EVERY // 2).flatten(1, 2)
        near = torch.cat([block.keys[:, :sinks], block.keys[:, far : block.start]], dim=1).float()
        lse, wide = (asked @ near.transpose(1, 2)).logsumexp(dim=2), _wide(asked, tree)
        by_head = [_errors(tree, head, *of, self.price) for head, of in enumerate(zip(asked, lse, wide))]
        return cut(tree.levels, [torch.stack(level) for level in zip(*by_head)], self.price)

    def _tree(self, block: Block, sinks: int, far: int) -> Tree:
        """Of the rows [sinks, far): what was made before is kept for the text. No segment is of sinks alone."""
        from fovea.attention_retrieval.tree import joined

        start = sinks // self.segment * self.segment, None
        first, made = block.kept.get("wave tree", start)
        if first > far:
            first, made = start
        lows = range(first, far, self.segment)
        new = [self._segment(block, slice(max(low, sinks), low + self.segment)) for low in lows]
        if new:
            made = joined([made, *new] if made else new)
            block.kept["wave tree"] = far, made
        return made

    def _segment(self, block: Block, rows: slice) -> Tree:
        """A segment's clusters, as the block's queries tell its keys apart."""
        import torch

        from fovea.attention_retrieval.tree import grown

        keys, values = block.keys[:, rows].float(), block.values[:, rows].float()
        asked = _some(block.queries, 4, 0).flatten(1, 2)
        seen = asked.transpose(1, 2) @ asked / asked.shape[1]
        ridge = RIDGE * seen.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
        lower = torch.linalg.cholesky_ex(seen + ridge[:, None, None] * torch.eye(keys.shape[2], device=keys.device)).L
        return grown(keys, values, keys @ lower, self.sizes, self.alone, self.steps)

    def _unserved(self, block: Block, ids: list[np.ndarray], means: list[Means]) -> list[int]:
        """kv heads whose estimate is further off than `tolerance`, by the last check."""
        from fovea.attention_retrieval.attend import attend, attend_columns

        number = block.start // self.block // EACH
        if block.kept.get("wave checked") != number:
            asked = _some(block.queries, CHECKED, 0).to(block.keys.dtype).flatten(0, 1)
            far_keys, far_values = (each[:, : block.start] for each in (block.keys, block.values))
            exact = attend(asked, far_keys, far_values, 1.0)[0].float()
            found = attend_columns(asked, Columns(ids, means=means), far_keys, far_values, 1.0)[0].float()
            off = (found - exact).norm(dim=2) / exact.norm(dim=2).clamp(1e-30)
            off = off.mean(dim=1).view(len(ids), -1).amax(dim=1)
            block.kept["wave checked"] = number
            block.kept["wave unserved"] = (off > self.tolerance).nonzero()[:, 0].tolist()
        unserved: list[int] = block.kept["wave unserved"]
        return unserved


def _some(queries: torch.Tensor, every: int, first: int) -> torch.Tensor:
    """Some of a block's queries, (kv heads, group, some, d) float32; all of a few."""
    return (queries[:, :, first::every] if queries.shape[2] > every else queries).float()


def _errors(
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


def _wide(asked: torch.Tensor, tree: Tree) -> torch.Tensor:
    """q' A q / 2 of (heads, queries, d)."""
    return (asked @ _of_trace(tree.around, tree) * asked).sum(dim=2).clamp(0) / 2


def _of_trace(moment: torch.Tensor, tree: Tree) -> torch.Tensor:
    return moment / tree.around.diagonal(dim1=-2, dim2=-1).sum(dim=-1).clamp(1e-30)[:, None, None]


def _means(block: Block, tree: Tree, taken: list[torch.Tensor], head: int) -> Means:
    """What stands for the rows of a head's clusters."""
    import torch

    ids = [those.nonzero()[:, 0] for those in taken]

    def of(field: str) -> torch.Tensor:
        return torch.cat([getattr(level, field)[head, those] for level, those in zip(tree.levels, ids)])

    keys, values, spread = (of(field).to(block.keys) for field in ("keys", "values", "spread"))
    around, cross = (_of_trace(each, tree)[head].to(block.keys) for each in (tree.around, tree.cross))
    return Means(keys, values, of("sizes").cpu().numpy(), Width(spread, around, cross))


def _none(means: Means) -> Means:
    """No means at all."""
    return means._replace(keys=means.keys[:0], values=means.values[:0], counts=np.zeros(0, np.float32))
