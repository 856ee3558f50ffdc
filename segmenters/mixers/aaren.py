"""Aaren: attention of one query that never changes, over every prefix, as a recurrence.

    s_t = q*_h k_t / sqrt d;  y_t = W_o sum_j softmax_j(s_j) v_j  over j <= t
    state  heads (d + 2),  d = width / heads: a maximum, a sum of weights and a weighted sum of values

q* is a weight of the layer, not of the token: a token says how much it is to be heard, not what it looks for. O(T) by
steps, O(T log T) in parallel. L. Feng et al., "Attention as an RNN" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class AarenMixer(Mixer, name="aaren"):
    """The softmax mean of all values so far."""

    heads: PositiveInt = 4
    """Each with a query of its own."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Queries `(heads, d)`, and three maps."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import head_width, linear

        query = nn.Parameter(torch.randn(self.heads, head_width(width, self.heads)))
        maps = {name: linear(width, width) for name in ("key", "value", "write")}
        return {"query": query, **maps}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """A scan over the piece, merged with what is kept."""
        from fovea.segmenters.mixing.attend import join, split
        from fovea.segmenters.mixing.prefix import Pool, end, prefixes

        d = net.width // self.heads
        k, v = split(net.key(x), d), split(net.value(x), d)
        scores = (k * net.query[:, None]).sum(dim=-1) / d**0.5
        pools = prefixes(scores, v, Pool(*state.kept) if state.kept else None)
        return net.write(join(pools.value)), State(state.seen + x.shape[1], tuple(end(pools)))

    def state_size(self, width: int, tokens: int) -> int:
        """width + 2 heads, whatever the tokens."""
        return width + 2 * self.heads
