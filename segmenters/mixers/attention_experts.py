"""BAM: a mixture of attention experts that all read the same keys and values; each token weighs all of them.

    p_t = softmax(W_r x_t);  y_t = sum_e p_te W_o^e attend(W_q^e x_t, K, V)
    state  2 kv_heads d tokens, as of one expert,  d = width / heads

Routing is soft, so that nothing is dropped and everything learns. O(experts T^2). Q. Zhang et al., "BAM! Just like
that: simple and efficient parameter upcycling for mixture of experts" (2024), the form with shared keys and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from fovea.rag.mixer import Few, Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class AttentionExpertsMixer(Mixer, name="attention_experts"):
    """Several softmax attentions over shared keys and values, weighed token by token."""

    heads: PositiveInt = 4
    """Of each expert's queries."""
    kv_heads: PositiveInt = 2
    """Of keys and values."""
    experts: Few = 2
    """With queries and an output of their own."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Queries and outputs of all experts, one key and value map, and the router."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import grouped, head_width, linear

        few, _ = head_width(width, self.heads) * self.kv_heads, grouped(self.heads, self.kv_heads, "kv_heads")
        return {
            "query": linear(width, self.experts * width),
            "key": linear(width, few),
            "value": linear(width, few),
            "route": linear(width, self.experts),
            "write": nn.Parameter(torch.randn(self.experts, width, width) * width**-0.5),
        }

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The piece by every expert; heads of all experts that read one key head come together."""
        import torch

        from fovea.segmenters.mixing.attend import attend, grown, places, rotate, split

        d, at, past = net.width // self.heads, places(state.seen, x), state.kept or (None, None)
        k = grown(past[0], rotate(split(net.key(x), d), at))
        v = grown(past[1], split(net.value(x), d))
        q = rotate(split(net.query(x), d), at).unflatten(1, (self.experts, self.kv_heads, -1)).transpose(1, 2)
        heard = attend(q.flatten(1, 3), k, v).unflatten(1, (self.kv_heads, self.experts, -1))
        heard = heard.permute(0, 4, 2, 1, 3, 5).flatten(3)
        y = torch.einsum("bte,btew,ewo->bto", net.route(x).softmax(dim=-1), heard, net.write)
        return y, State(state.seen + x.shape[1], (k, v))

    def state_size(self, width: int, tokens: int) -> int:
        """2 kv_heads d tokens."""
        return 2 * self.kv_heads * (width // self.heads) * tokens
