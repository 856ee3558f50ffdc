"""Clusters of what was read: the heaviest row by row, the others as one each, as `select: {use: wave}` decodes.

    logit of cluster c    q . k_c + log n_c + r_c q' A q / 2     n_c rows, mean key k_c, mean value v_c
    its value             v_c + r_c B q                          r_c mean square distance of its keys from k_c
    A = S_kk / tr S_kk    B = S_vk / tr S_kk                     S: sums of (k - k_c)(k - k_c)', (v - v_c)(k - k_c)'
    uncertain             u_c = w_c r_c q' A q / 2               w_c its share of the attention, by this estimate
    read row by row       the most uncertain for a row, until those left add up to `rest`, u_c the mean over every
                          eighth query of a block and the heads of a kv group; and where one of these has u_c > `one`

So nothing is dropped: what is not read is estimated to the second moment of its keys, and to the mixed one of keys and
values, which costs a number a cluster and two small matrices a head. Clusters are spherical k-means inside segments of
the text, made once; a block's own segment, and `window` rows before the block, are read whole. The queries of a block
share their columns, so that these are one product of matrices. Linear in the text: clusters are 1 row in `size`.

RetroInfer (Y. Chen et al., arXiv 2505.02922) decodes so, by mean keys and values alone; to read prompts by it, the
width and the mixed moment are ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.index.blas import one_thread
from fovea.attention_retrieval.index.kmeans import kmeans, nearest
from fovea.attention_retrieval.prefill.prefill import Block, Columns, Means, Prefill, Width

if TYPE_CHECKING:
    import torch

EVERY = 8
"""One row of so many is asked what a block's clusters weigh."""
GAUSSIAN = 0.75
"""A is multiplied by it: clusters have thinner tails than a Gaussian's."""


class WavePrefill(Prefill, name="wave"):
    """Near rows, heavy clusters row by row, and the others by their means."""

    size: PositiveInt = 8
    """Rows a cluster, on average."""

    rest: Annotated[float, Field(ge=0, le=1)] = 0.05
    """How uncertain what is estimated may be, as a share of a block's attention; with 0 every row is read."""

    one: Annotated[float, Field(ge=0)] = 0.1
    """How uncertain a cluster may be to one query."""

    block: PositiveInt = 128
    """Rows that share their columns."""

    segment: PositiveInt = 512
    """Rows of the text that are clustered together."""

    window: NonNegativeInt = 256
    """Rows before a block that are read whole."""

    steps: PositiveInt = 3
    """Steps of k-means."""

    @property
    def rows(self) -> int:
        """Of a block."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """O(block / 8 * rows / size) products a query head to choose."""
        far = max(block.start - self.window, 0) // self.segment * self.segment
        sinks = min(block.sinks, far)
        if far <= sinks or not self.rest:
            return Columns([np.arange(block.start)])
        chosen = [self._head(block, head, sinks, far) for head in range(len(block.keys))]
        return Columns([ids for ids, _ in chosen], means=[means for _, means in chosen])

    def _head(self, block: Block, head: int, sinks: int, far: int) -> tuple[np.ndarray, Means]:
        """Rows that a kv head's group reads, and what stands for the others."""
        import torch

        made, (keys, values) = self._clusters(block, head, sinks, far), (block.keys[head], block.values[head])
        asked = block.queries[head, :, ::EVERY].flatten(0, 1).float()
        wide = (asked @ made.around * asked).sum(dim=1, keepdim=True) / 2
        logits = torch.addmm(made.sizes.log(), asked, made.keys.T) + wide * made.spread
        near = torch.cat([keys[:sinks], keys[far : block.start]]).float()
        lse = torch.logaddexp((asked @ near.T).logsumexp(dim=1), logits.logsumexp(dim=1))
        each = (logits - lse[:, None]).exp_().mul_(wide.clamp(0)).mul_(made.spread)
        unsure, read = each.mean(dim=0), each.amax(dim=0) > self.one
        order = (unsure / made.sizes).argsort(descending=True, stable=True)
        left = unsure.sum() - unsure[order].cumsum(0) + unsure[order]
        read[order[left > self.rest]] = True
        rows = np.flatnonzero(read.cpu().numpy()[made.cells]) + sinks
        others = ~read
        means = Means(
            made.keys[others].to(keys), made.values[others].to(values), made.sizes[others].cpu().numpy(),
            Width(made.spread[others].to(keys), made.around.to(keys), made.cross.to(keys)),
        )  # fmt: skip
        return np.concatenate([np.arange(sinks), rows, np.arange(far, block.start)]), means

    def _clusters(self, block: Block, head: int, sinks: int, far: int) -> Clusters:
        """Of the rows [sinks, far): those of segments made before are kept for the text. None is of sinks alone."""
        made, first = block.kept.setdefault(("wave", head), []), sinks // self.segment
        for low in range((first + len(made)) * self.segment, far, self.segment):
            rows = slice(max(low, sinks), low + self.segment)
            with one_thread():
                made.append(self._segment(block.keys[head, rows], block.values[head, rows], (low, head)))
        whole = block.kept.get(("wave", head, far))
        if whole is None:
            whole = joined(made[: far // self.segment - first])
            block.kept.pop(("wave", head, far - self.segment), None)
            block.kept["wave", head, far] = whole
        return whole

    def _segment(self, keys: torch.Tensor, values: torch.Tensor, seed: tuple[int, int]) -> Clusters:
        """Spherical k-means of a segment's keys around their mean."""
        import torch

        rows, them = keys.float().cpu().numpy(), values.float().cpu().numpy()
        centred = rows - rows.mean(axis=0)
        count = max(len(rows) // self.size, 1)
        centroids = kmeans(centred, count, steps=self.steps, seed=seed, spherical=True)
        _, cells, sizes = np.unique(
            nearest(centred, centroids, spherical=True), return_inverse=True, return_counts=True
        )
        order = np.argsort(cells, kind="stable")
        first = np.cumsum(sizes) - sizes
        counted = sizes.astype(np.float32)
        means, middle = (np.add.reduceat(each[order], first) / counted[:, None] for each in (rows, them))
        off, apart = rows - means[cells], them - middle[cells]
        spread = np.add.reduceat(np.square(off).sum(axis=1)[order], first) / counted
        numbers = (means, middle, counted, spread, off.T @ off, apart.T @ off)
        return Clusters._make([*(torch.from_numpy(np.asarray(n, np.float32)).to(keys.device) for n in numbers), cells])


class Clusters(NamedTuple):
    """Clusters of a head's rows."""

    keys: torch.Tensor
    """Mean keys, (clusters, d) float32."""
    values: torch.Tensor
    """Mean values, likewise."""
    sizes: torch.Tensor
    """Rows of each, (clusters,) float32."""
    spread: torch.Tensor
    """Mean square distance of its keys from their mean, (clusters,)."""
    around: torch.Tensor
    """S_kk of a segment, or A of several, (d, d)."""
    cross: torch.Tensor
    """S_vk, or B, (d, d)."""
    cells: np.ndarray
    """The cluster of each row, (rows,)."""


def joined(parts: list[Clusters]) -> Clusters:
    """The clusters of segments that follow each other."""
    import torch

    columns = list(zip(*(part[:6] for part in parts)))
    keys, values, sizes, spread = (torch.cat(each) for each in columns[:4])
    around, cross = (torch.stack(each).sum(dim=0) for each in columns[4:])
    whole = around.trace().clamp(1e-30)
    before = np.cumsum([0, *(len(part.keys) for part in parts)])
    cells = np.concatenate([part.cells + first for part, first in zip(parts, before)])
    return Clusters(keys, values, sizes, spread, GAUSSIAN * around / whole, cross / whole, cells)
