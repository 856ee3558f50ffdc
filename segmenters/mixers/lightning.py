"""Lightning attention: linear attention without softmax or denominator, whose memory decays by a rate a head.

    q, k, v = silu(.);  S_t = r_h S_{t-1} + k_t v_t^T;  o_t = q_t^T S_t
    y_t = W_o (norm(o_t) * sigmoid(x_t W_down W_up))
    r_h = exp(-2^(-8 (h + 1) / heads) (1 - depth + 1e-5)),  depth = l / (L - 1): the last layer's hardly decays
    state  width^2 / heads

O(T). No positions but those that the decay gives. Z. Qin et al., "Lightning attention-2" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class LightningMixer(Mixer, name="lightning"):
    """Decayed linear attention: a state of one size, whatever the length."""

    heads: PositiveInt = 4
    """Each with a rate of its own, the first the fastest."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Maps, the norm of what is read, and a gate of low rank."""
        from torch import nn

        from fovea.segmenters.mixing.attend import head_width, linear

        d = head_width(width, self.heads)
        return {
            "read": linear(width, 3 * width),
            "norm": nn.RMSNorm(width),
            "down": linear(width, d),
            "up": linear(d, width),
            "write": linear(width, width),
        }

    def rates(self, depth: float) -> list[float]:
        """r of each head in a layer whose place is `depth`, from 0, first, to 1, last."""
        from math import exp

        return [exp(-(2 ** (-8 * (h + 1) / self.heads)) * (1 - depth + 1e-5)) for h in range(self.heads)]

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Blocks of the piece, each with the memory of before it."""
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import join, split
        from fovea.segmenters.mixing.decayed import scan

        d = net.width // self.heads
        q, k, v = (split(each, d) for each in F.silu(net.read(x)).chunk(3, dim=-1))
        memory = state.kept[0] if state.kept else x.new_zeros(len(x), self.heads, d, d)
        rates = x.new_tensor(self.rates(net.depth))
        o, memory = scan(q, k, v, memory, rates, lambda a, b: a @ b.transpose(-1, -2), lambda a: a)
        y = net.write(net.norm(join(o)) * net.up(net.down(x)).sigmoid())
        return y, State(state.seen + x.shape[1], (memory,))

    def state_size(self, width: int, tokens: int) -> int:
        """width^2 / heads, whatever the tokens."""
        return width * width // self.heads
