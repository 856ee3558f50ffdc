"""Clusters of what was read: the uncertain ones row by row, the others as one each, as `select: {use: wave}` decodes.

    logit of cluster c    q . k_c + log n_c + x_c        n_c rows, mean key k_c, mean value v_c
                          x_c = r_c q' A q / 2           r_c mean square distance of its keys from k_c
    its value             v_c + r_c B q
    A = S_kk / tr S_kk    B = S_vk / tr S_kk             S: sums of (k - k_c)(k - k_c)', (v - v_c)(k - k_c)'
    its error             e_c = mean of w_c^2 x_c        w_c its share of the attention, by this estimate; the mean is
                                                         over every eighth query of a block and the heads of a kv group
    read row by row       those with most e_c / n_c, until the e_c of the others add up to no more than `error`^2

So nothing is dropped: what is not read is estimated to the second moment of its keys, and to the mixed one of keys and
values, which costs a number a cluster and two small matrices a head. Clusters are k-means of the keys as the block's
queries see them (k' M k of M = mean q q', inside a segment of the text, made once), so that rows share one if queries
do not tell them apart; those furthest from their mean, to which attention often goes, are clusters of their own. A
block's own segment, and `window` rows before the block, are read whole. The queries of a block share their columns, so
that these are one product of matrices. Linear in the text: clusters are about 1 row in eleven.

RetroInfer (Y. Chen et al., arXiv 2505.02922) decodes so, by mean keys and values alone, of clusters by cosine; to read
prompts by it, the metric, rows that stand alone, the width and the mixed moment are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.prefill.prefill import Block, Columns, Means, Prefill, Width

if TYPE_CHECKING:
    import torch

EVERY = 8
"""One row of so many is asked what a block's clusters weigh."""
RIDGE = 1e-3
"""Of the mean of M's diagonal, added to it."""


class WavePrefill(Prefill, name="wave"):
    """Near rows, uncertain clusters row by row, and the others by their means."""

    size: PositiveInt = 32
    """Rows a cluster, on average."""

    alone: NonNegativeInt = 16
    """Rows of a segment that stand alone."""

    error: Annotated[float, Field(ge=0, le=1)] = 0.02
    """How far a block's attention may be off, by its own estimate; with 0 every row is read."""

    block: PositiveInt = 256
    """Rows that share their columns."""

    segment: PositiveInt = 512
    """Rows of the text that are clustered together."""

    window: NonNegativeInt = 128
    """Rows before a block that are read whole."""

    steps: PositiveInt = 3
    """Steps of k-means."""

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(block / 8 * clusters) products a query head to choose."""
        far = max(block.start - self.window, 0) // self.segment * self.segment
        sinks = min(block.sinks, far)
        if far <= sinks or not self.error:
            return Columns([np.arange(block.start)])
        made = self._clusters(block, sinks, far)
        read = self._uncertain(block, made, sinks, far)
        rows, others = read.gather(1, made.cells).cpu().numpy(), ~read & (made.sizes > 0)
        ids = [np.concatenate([np.arange(sinks), np.flatnonzero(r) + sinks, np.arange(far, block.start)]) for r in rows]
        return Columns(ids, means=[made.means(head, those, block.keys) for head, those in enumerate(others)])

    def _uncertain(self, block: Block, made: Clusters, sinks: int, far: int) -> torch.Tensor:
        """Which clusters are read row by row, (heads, clusters) bool."""
        import torch

        asked = block.queries[:, :, EVERY // 2 :: EVERY] if block.queries.shape[2] > EVERY else block.queries
        asked = asked.flatten(1, 2).float()
        near = torch.cat([block.keys[:, :sinks], block.keys[:, far : block.start]], dim=1).float()
        wide = (asked @ made.around * asked).sum(dim=2, keepdim=True).clamp(0) / 2 * made.spread[:, None]
        logits = torch.baddbmm(made.sizes.log()[:, None] + wide, asked, made.keys.transpose(1, 2))
        lse = torch.logaddexp((asked @ near.transpose(1, 2)).logsumexp(dim=2), logits.logsumexp(dim=2))
        off = (logits - lse[..., None]).exp_().square_().mul_(wide).mean(dim=1)
        order = (off / made.sizes.clamp(1)).argsort(dim=1, descending=True, stable=True)
        most = off.gather(1, order)
        left = most.flip(1).cumsum(1).flip(1)
        return torch.zeros_like(off, dtype=torch.bool).scatter_(1, order, left > self.error**2)

    def _clusters(self, block: Block, sinks: int, far: int) -> Clusters:
        """Of the rows [sinks, far): those of segments made before are kept for the text. None is of sinks alone."""
        made, first = block.kept.setdefault("wave", []), sinks // self.segment
        for low in range((first + len(made)) * self.segment, far, self.segment):
            rows = slice(max(low, sinks), low + self.segment)
            made.append(self._segment(block.keys[:, rows].float(), block.values[:, rows].float(), block.queries))
        whole = block.kept.get(("wave", far))
        if whole is None:
            whole = joined(made[: far // self.segment - first])
            block.kept.pop(("wave", far - self.segment), None)
            block.kept["wave", far] = whole
        return whole

    def _segment(self, keys: torch.Tensor, values: torch.Tensor, queries: torch.Tensor) -> Clusters:
        """Clusters of a segment's (heads, rows, d), as queries (heads, group, tokens, d) tell its keys apart."""
        import torch

        asked, (heads, rows, d) = queries.flatten(1, 2).float(), keys.shape
        seen = asked.transpose(1, 2) @ asked / asked.shape[1]
        ridge = RIDGE * seen.diagonal(dim1=1, dim2=2).mean(dim=1) + 1e-12
        lower = torch.linalg.cholesky_ex(seen + ridge[:, None, None] * torch.eye(d, device=keys.device)).L
        cells, count = kmeans(keys @ lower, max(rows // self.size, 1), self.steps, min(self.alone, rows - 1))
        at, empty = cells[..., None].expand(-1, -1, d), keys.new_zeros(heads, count, d)
        sizes = keys.new_zeros(heads, count).scatter_add_(1, cells, torch.ones_like(keys[..., 0]))
        means, middle = (empty.scatter_add(1, at, each) / sizes.clamp(1)[..., None] for each in (keys, values))
        off, apart = keys - means.gather(1, at), values - middle.gather(1, at)
        spread = torch.zeros_like(sizes).scatter_add_(1, cells, off.square().sum(dim=2)) / sizes.clamp(1)
        return Clusters(means, middle, sizes, spread, off.transpose(1, 2) @ off, apart.transpose(1, 2) @ off, cells)


class Clusters(NamedTuple):
    """Clusters of all heads' rows; some may have none."""

    keys: torch.Tensor
    """Mean keys, (heads, clusters, d) float32."""
    values: torch.Tensor
    """Mean values, likewise."""
    sizes: torch.Tensor
    """Rows of each, (heads, clusters) float32."""
    spread: torch.Tensor
    """Mean square distance of its keys from their mean, (heads, clusters)."""
    around: torch.Tensor
    """S_kk of a segment, or A of several, (heads, d, d)."""
    cross: torch.Tensor
    """S_vk, or B, (heads, d, d)."""
    cells: torch.Tensor
    """The cluster of each row, (heads, rows)."""

    def means(self, head: int, those: torch.Tensor, like: torch.Tensor) -> Means:
        """What stands for the rows of some of a head's clusters."""
        keys, values, spread = (each[head, those].to(like) for each in (self.keys, self.values, self.spread))
        width = Width(spread, self.around[head].to(like), self.cross[head].to(like))
        return Means(keys, values, self.sizes[head, those].cpu().numpy(), width)


def kmeans(points: torch.Tensor, count: int, steps: int, alone: int) -> tuple[torch.Tensor, int]:
    """Cells of (heads, rows, d) and their number: k-means from evenly spaced rows, then the `alone` rows that are
    furthest from their mean, each a cell of its own."""
    import torch

    heads, rows, d = points.shape
    centres = points[:, torch.arange(count, device=points.device) * rows // count]
    for _ in range(steps + 1):
        cells = torch.baddbmm(centres.square().sum(2)[:, None] / -2, points, centres.transpose(1, 2)).argmax(dim=2)
        sizes = points.new_zeros(heads, count).scatter_add_(1, cells, torch.ones_like(points[..., 0]))[..., None]
        sums = torch.zeros_like(centres).scatter_add_(1, cells[..., None].expand(-1, -1, d), points)
        centres = torch.where(sizes > 0, sums / sizes.clamp(1), centres)
    away = (points - centres.gather(1, cells[..., None].expand(-1, -1, d))).square().sum(dim=2)
    lone = away.topk(alone, dim=1).indices
    return cells.scatter(1, lone, torch.arange(count, count + alone, device=cells.device).expand(heads, -1)), (
        count + alone
    )


def joined(parts: list[Clusters]) -> Clusters:
    """The clusters of segments that follow each other."""
    import torch

    columns = list(zip(*(part[:6] for part in parts)))
    keys, values, sizes, spread = (torch.cat(each, dim=1) for each in columns[:4])
    around, cross = (torch.stack(each).sum(dim=0) for each in columns[4:])
    whole = around.diagonal(dim1=1, dim2=2).sum(dim=1).clamp(1e-30)[:, None, None]
    before = np.cumsum([0, *(part.keys.shape[1] for part in parts)]).tolist()
    cells = torch.cat([part.cells + first for part, first in zip(parts, before)], dim=1)
    return Clusters(keys, values, sizes, spread, around / whole, cross / whole, cells)
