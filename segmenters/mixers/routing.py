"""Routing attention: tokens are clustered by k-means, and a token attends to the last ones of its own cluster.

    k_t = W x_t / |W x_t|, q_t = W x_t;  cluster_t = argmax_c k_t centroid_c, a head by itself
    y_t = sum_j softmax_j(q_t k_j / sqrt d) v_j  over the last `window` tokens before t of its cluster, t alone if none
    centroids <- decay centroids + (1 - decay) mean of their k, of unit length, in training only
    state  2 clusters window width + heads clusters          all of it from the first token on

As published each cluster takes the tokens nearest to it of the whole sequence, so that what is to come decides who sees
whom; here a token goes where it is nearest, when it comes, and clusters differ in size. There is no commitment loss,
and centroids start at random. Queries and keys are one, and a token does not look at itself. No positions: order counts
by the window alone. O(T clusters window). A. Roy et al., "Efficient content-based sparse attention with routing
transformers" (2021).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PositiveInt

from fovea.rag.mixer import Mixer, Some, State

if TYPE_CHECKING:
    from torch import Tensor, nn

ITSELF = -5e4
"""The score of a token by itself."""


class RoutingMixer(Mixer, name="routing"):
    """Softmax attention inside of clusters of tokens."""

    piece: ClassVar[int] = 256

    heads: PositiveInt = 4
    """Each with centroids of its own."""
    clusters: Some = 4
    """Of a head."""
    window: Some = 32
    """Tokens of a cluster that are kept and seen."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Of centroids, a step of training."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Three maps, and centroids, which are no weights."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import head_width, linear

        centroids = F.normalize(torch.randn(self.heads, self.clusters, head_width(width, self.heads)), dim=-1)
        return {**{name: linear(width, width) for name in ("look", "value", "write")}, "centroids": centroids}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The piece against the rows that clusters keep and itself."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import join, split

        d = net.width // self.heads
        q, v = split(net.look(x), d), split(net.value(x), d)
        k = F.normalize(q, dim=-1)
        rows = (*k.shape[:2], self.clusters * self.window, d)
        old_k, old_v, counts = state.kept or (
            k.new_zeros(rows),
            k.new_zeros(rows),
            k.new_zeros(*rows[:2], self.clusters),
        )
        cluster = (k.detach() @ net.centroids.transpose(-1, -2)).argmax(dim=-1)
        chosen = F.one_hot(cluster, self.clusters).to(k.dtype)
        after = counts[:, :, None] + chosen.cumsum(dim=2)
        ranks = after.gather(3, cluster[..., None])[..., 0] - 1
        allowed = self._seen(cluster, ranks, counts)
        scores = q @ torch.cat([old_k, k], dim=2).transpose(-1, -2) / d**0.5
        own = torch.arange(x.shape[1], device=x.device)
        scores[..., own, rows[2] + own] = ITSELF
        weights = scores.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
        y = net.write(join(weights @ torch.cat([old_v, v], dim=2)))
        if net.training:
            self._learn(net, k.detach(), chosen)
        counts = after[:, :, -1]
        stay = ranks >= counts.gather(2, cluster) - self.window
        slot = torch.where(stay, cluster * self.window + (ranks % self.window).long(), rows[2])
        kept = (_put(old_k, k, slot), _put(old_v, v, slot), counts)
        return y, State(state.seen + x.shape[1], kept)

    def _seen(self, cluster: Tensor, ranks: Tensor, counts: Tensor) -> Tensor:
        """Who may be seen by each token: slots, of which s holds the last rank that is s mod window, and tokens."""
        import torch

        slots = torch.arange(self.window, device=ranks.device)
        held = counts[..., None] - 1 - (counts[..., None] - 1 - slots) % self.window
        held = held.flatten(2)[:, :, None]
        whose = torch.arange(self.clusters, device=ranks.device).repeat_interleave(self.window)
        old = (whose == cluster[..., None]) & (held >= 0) & (ranks[..., None] - held <= self.window)
        new = (cluster[..., None] == cluster[:, :, None]) & (ranks[..., None] - ranks[:, :, None] <= self.window)
        return torch.cat([old, new.tril()], dim=-1)

    def _learn(self, net: Any, k: Tensor, chosen: Tensor) -> None:
        import torch
        from torch.nn import functional as F

        with torch.no_grad():
            sums = torch.einsum("bhtc,bhtd->hcd", chosen, k)
            sizes = chosen.sum(dim=(0, 2))[..., None]
            means = torch.where(sizes > 0, sums / sizes.clamp(min=1), net.centroids)
            net.centroids.copy_(F.normalize(self.decay * net.centroids + (1 - self.decay) * means, dim=-1))

    def state_size(self, width: int, tokens: int) -> int:
        """2 clusters window width + heads clusters, whatever the tokens."""
        return self.clusters * (2 * self.window * width + self.heads)


def _put(rows: Tensor, new: Tensor, slot: Tensor) -> Tensor:
    """New rows in their slots; those of the slot behind the last are dropped."""
    import torch

    room = torch.cat([rows, rows[:, :, :1]], dim=2)
    return room.scatter(2, slot[..., None].expand_as(new), new)[:, :, :-1]
