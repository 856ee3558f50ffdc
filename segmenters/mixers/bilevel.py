"""Bi-level routing attention: regions choose regions, then tokens attend to the tokens of those that were chosen.

    affinity of region r, as far as it was read, with an earlier region s:  (sum of its q so far) . (mean of k of s)
    y_t = W_o (softmax attention over the tokens of the `top` regions of most affinity and its own region up to t
               + depth-wise convolution of v over the last 3 tokens)
    state  2 width tokens + width

As published a region asks by the mean of all its tokens, and may choose any region: here by the mean of those that were
read, and only whole regions before it, so the choice may change from token to token. The choice has no gradient, and
positions come of the convolution. A mask stands for the gathering: O(T^2) here, of which top region T is needed. L. Zhu
et al., "BiFormer: vision transformer with bi-level routing attention" (2023).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import PositiveInt

from fovea.rag.mixer import Mixer, State

if TYPE_CHECKING:
    from torch import Tensor, nn

TAPS = 3
"""Tokens that the convolution sees."""


class BilevelMixer(Mixer, name="bilevel"):
    """Softmax attention over the regions that suit."""

    piece: ClassVar[int] = 256

    heads: PositiveInt = 4
    """Of the attention; regions are chosen by all of them together."""
    region: PositiveInt = 16
    """Tokens of a region."""
    top: PositiveInt = 4
    """Regions read beside the own."""

    def parts(self, width: int) -> Mapping[str, nn.Module | Tensor]:
        """Four maps, and taps `(width, 3)`, the last for the token itself."""
        import torch
        from torch import nn

        from fovea.segmenters.mixing.attend import head_width, linear

        head_width(width, self.heads)
        taps = nn.Parameter(torch.randn(width, TAPS) * TAPS**-0.5)
        return {**{name: linear(width, width) for name in ("query", "key", "value", "write")}, "taps": taps}

    def chunk(self, net: Any, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Keys and values behind those kept, `(B, n, width)`, and the sum of the open region's queries."""
        import torch
        from torch.nn import functional as F

        from fovea.segmenters.mixing.attend import attend, before, join, places, split

        q, end = net.query(x), state.seen + x.shape[1]
        none = x[:, :0]
        old_k, old_v, opened = state.kept or (none, none, x.new_zeros(len(x), 1, x.shape[-1]))
        k, v = torch.cat([old_k, net.key(x)], dim=1), torch.cat([old_v, net.value(x)], dim=1)
        here, of = places(state.seen, x) // self.region, torch.arange(end, device=x.device) // self.region
        asks = self._asks(q, opened, here, state.seen)
        chosen = self._chosen(asks, k, here)
        near = before(x.shape[1], end, x) & (of == here[:, None])
        allowed = near | chosen[..., of]
        d = net.width // self.heads
        heard = attend(split(q, d), split(k, d), split(v, d), allowed[:, None])
        local = F.pad(v[:, max(0, state.seen - TAPS + 1) :], (0, 0, max(0, TAPS - 1 - state.seen), 0))
        local = F.conv1d(local.transpose(1, 2), net.taps[:, None], groups=net.width).transpose(1, 2)
        left = asks[:, -1:] if end % self.region else torch.zeros_like(opened)
        return net.write(join(heard) + local), State(end, (k, v, left))

    def _asks(self, q: Tensor, opened: Tensor, here: Tensor, seen: int) -> Tensor:
        """The sum of the queries of each token's region up to it, `(B, T, width)`."""
        import torch
        from torch.nn import functional as F

        sums = F.pad(q.cumsum(dim=1), (0, 0, 1, 0))
        starts = (here * self.region - seen).clamp(min=0)
        carried = torch.where((here == seen // self.region)[:, None], opened, torch.zeros_like(opened))
        return sums[:, 1:] - sums[:, starts] + carried

    def _chosen(self, asks: Tensor, k: Tensor, here: Tensor) -> Tensor:
        """Which regions each token reads beside its own: bool `(B, T, regions)`."""
        import torch
        from torch.nn import functional as F

        regions, whole = -(-k.shape[1] // self.region), k.shape[1] // self.region
        with torch.no_grad():
            means = k[:, : whole * self.region].unflatten(1, (whole, self.region)).mean(dim=2)
            earlier = torch.arange(whole, device=k.device) < here[:, None]
            affinity = (asks @ means.transpose(-1, -2)).masked_fill(~earlier, -torch.inf)
            best = affinity.topk(min(self.top, whole), dim=-1).indices
            chosen = torch.zeros_like(affinity, dtype=torch.bool).scatter(-1, best, True) & earlier
            return F.pad(chosen, (0, regions - whole))

    def state_size(self, width: int, tokens: int) -> int:
        """2 width tokens + width."""
        return 2 * width * tokens + width
