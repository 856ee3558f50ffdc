"""Stage: a mixer and a feed-forward layer, the two of as many weights as whatever stood there before.

x <- x + mix(norm(x));  x <- x + W_down (silu(g) * u),  (g, u) = norm(x) W_up
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn import functional as F

from fovea.rag.mixer import Mixer, State
from fovea.segmenters.mixing.attend import linear
from fovea.segmenters.mixing.module import Mixing

LEAST = 8
"""Channels inside of the feed-forward layer, where a mixer leaves none."""


class Stage(nn.Module):
    """One layer `width` wide of about `weights` numbers; `depth` is its place, from 0, first, to 1, last."""

    def __init__(self, mixer: Mixer, width: int, weights: int, depth: float = 0.0) -> None:
        super().__init__()
        self.before, self.mixing = nn.RMSNorm(width), Mixing(mixer, width, depth)
        left = weights - 2 * width - size(self.mixing.parameters())
        inner = max(LEAST, round(left / (3 * width)))
        self.between, self.up, self.down = nn.RMSNorm(width), linear(width, 2 * inner), linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, width)` to the same."""
        return self._feed(x + self.mixing(self.before(x)))

    def chunk(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The next piece, and what the mixer keeps."""
        heard, state = self.mixing.chunk(self.before(x), state)
        return self._feed(x + heard), state

    def _feed(self, x: Tensor) -> Tensor:
        gate, value = self.up(self.between(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * value)


def size(weights: Iterable[Tensor]) -> int:
    """How many numbers there are."""
    return sum(each.numel() for each in weights)
