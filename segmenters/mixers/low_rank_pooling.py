"""Low-rank self-attention pooling: heads that share one small key a token, asked by the mean of what was said.

    c_t = mean(x_1..x_t);  s_j^m = (u_m * U x_j) . (V c_t) / sqrt r;  y_t = W_o concat_m sum_j softmax_j(s_j^m) W_v x_j
    state  (r + width) tokens + width                          r = rank

U and V are r x width and shared, u_m has r numbers a head. The published form pools a whole sequence once, with one
context; here every prefix is pooled, by the context that it has, which makes it causal and O(T^2 (r + width)). A token
asks by the mean and not by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, Some, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class LowRankPoolingMixer(Mixer, name="low_rank_pooling"):
    """Several weighted means of all tokens so far, whose weights have a low rank."""

    heads: PositiveInt = 4
    """Means, each of width / heads channels."""
    rank: Some = 16
    """Channels r of a key."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """U, V, u, and maps of values and of what is written."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import head_width, linear

        head_width(width, self.heads)
        return {
            "key": linear(width, self.rank),
            "context": linear(width, self.rank),
            "scale": nn.Parameter(torch.randn(self.heads, self.rank)),
            "value": linear(width, width),
            "write": linear(width, width),
        }

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Keys and values behind those kept, and the running sum of x."""
        from fovea.segmenters.mixing.attend import attend, grown, join, places, split

        past = state.kept or (None, None, x.new_zeros(len(x), 1, x.shape[-1]))
        sums = past[2] + x.cumsum(dim=1)
        asks = net.context(sums / (places(state.seen, x) + 1)[:, None])
        q = asks[:, None] * net.scale[:, None]
        k, v = grown(past[0], net.key(x)[:, None]), grown(past[1], split(net.value(x), net.width // self.heads))
        return net.write(join(attend(q, k, v))), State(state.seen + x.shape[1], (k, v, sums[:, -1:]))

    def state_size(self, width: int, tokens: int) -> int:
        """(rank + width) tokens + width."""
        return (self.rank + width) * tokens + width
