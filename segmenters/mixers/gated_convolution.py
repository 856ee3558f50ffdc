"""Gated convolution: each channel is mixed over the last `kernel` tokens and gated by the token itself.

    (g, v) = x W_in;  y_t = (silu(g_t) * sum_i taps_i v_{t-i}) W_out
    state  (kernel - 1) expand width, zeros at first

O(T kernel). MambaOut's block without the state space, of which the convolution is made causal here: W. Yu and X. Wang,
"MambaOut: do we really need Mamba for vision?" (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fovea.rag.mixer import Few, Mixer, Some, State

if TYPE_CHECKING:
    from torch import Tensor, nn


class GatedConvolutionMixer(Mixer, name="gated_convolution"):
    """A convolution of each channel over the last tokens, gated."""

    kernel: Some = 7
    """Tokens seen, the token itself among them."""
    expand: Few = 1
    """Channels that are mixed, of the width."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """W_in, W_out, and taps `(channels, kernel)`, the last for the token itself."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import linear

        inner = self.expand * width
        taps = nn.Parameter(torch.randn(inner, self.kernel) * self.kernel**-0.5)
        return {"read": linear(width, 2 * inner), "taps": taps, "write": linear(inner, width)}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The piece behind the last kernel - 1 rows of v."""
        import torch
        from torch.nn import functional as F

        gate, value = net.read(x).chunk(2, dim=-1)
        past = state.kept[0] if state.kept else value.new_zeros(len(x), self.kernel - 1, value.shape[-1])
        seen = torch.cat([past, value], dim=1)
        mixed = F.conv1d(seen.transpose(1, 2), net.taps[:, None], groups=len(net.taps)).transpose(1, 2)
        kept = seen[:, seen.shape[1] - self.kernel + 1 :]
        return net.write(F.silu(gate) * mixed), State(state.seen + x.shape[1], (kept,))

    def state_size(self, width: int, tokens: int) -> int:
        """(kernel - 1) expand width, whatever the tokens."""
        return (self.kernel - 1) * self.expand * width
