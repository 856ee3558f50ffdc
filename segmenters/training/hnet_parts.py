"""Parts of hierarchical networks in torch: routing, chunking and dechunking with gradients, for padded batches.

The formulas are those of `fovea.segmenters.routing`. Everywhere B is the batch, T the symbols, M the chunks, d the
width; `mask` `(B, T)` is true for symbols and false for padding, which comes last and is never a boundary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fovea.segmenters.routing import CLIP


class Routed(NamedTuple):
    """What a router says of each symbol, each `(B, T)`; where padded, p and c are 0 and b is false."""

    p: Tensor
    b: Tensor
    c: Tensor


class Router(nn.Module):
    """W_q and W_k, the identity at first, so that an untrained router compares neighbouring states themselves."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.query, self.key = nn.Parameter(torch.eye(dim)), nn.Parameter(torch.eye(dim))

    def forward(self, states: Tensor, mask: Tensor, after: Tensor | None = None) -> Routed:
        """Route `(B, T, d)`; keys are taken of `after` where the network has other states that look ahead."""
        return route(states @ self.query, (states if after is None else after) @ self.key, mask)


def route(queries: Tensor, keys: Tensor, mask: Tensor) -> Routed:
    """p_t = (1 - cos(q_{t-1}, k_t)) / 2 with p_1 = 1, the boundaries p > 1/2 and their confidences."""
    cosines = F.cosine_similarity(queries[:, :-1], keys[:, 1:], dim=-1, eps=1e-12)
    p = F.pad(((1 - cosines) / 2).clamp(0, 1), (1, 0), value=1.0) * mask
    b = p > 0.5
    return Routed(p, b, torch.where(b, p, 1 - p) * mask)


def chunk(states: Tensor, routed: Routed) -> tuple[Tensor, Tensor, Tensor]:
    """The states at boundaries, in order: chunks `(B, M, d)`, their mask and their probabilities `(B, M)`."""
    counts = routed.b.sum(dim=1)
    most = int(counts.max())
    order = torch.argsort((~routed.b).to(torch.uint8), dim=1, stable=True)[:, :most]
    mask = torch.arange(most, device=states.device) < counts[:, None]
    kept = states.gather(1, order[..., None].expand(-1, -1, states.shape[-1]))
    return kept * mask[..., None], mask, routed.p.gather(1, order) * mask


def dechunk(chunks: Tensor, p: Tensor, b: Tensor) -> Tensor:
    """Smooth chunks `(B, M, d)` of probabilities `(B, M)`, and give each symbol of b `(B, T)` its own: `(B, T, d)`.

    The moving average is a product with the triangular matrix W_mj = P_j * prod_{j < i <= m} (1 - P_i): O(M^2 d).
    """
    weights = p.double().clamp(CLIP, 1 - CLIP)
    logs = torch.log1p(-weights).cumsum(dim=1)
    steps = logs[:, :, None] - logs[:, None, :]
    later = torch.ones(steps.shape[1:], dtype=torch.bool, device=p.device).triu(1)
    mixing = steps.masked_fill(later, -torch.inf).exp() * weights[:, None, :]
    smooth = mixing.to(chunks.dtype) @ chunks
    place = (b.cumsum(dim=1) - 1).clamp(min=0)
    return smooth.gather(1, place[..., None].expand(-1, -1, chunks.shape[-1]))


def straight_through(confidence: Tensor) -> Tensor:
    """One, exactly, whose gradient is the confidence's."""
    return 1 + (confidence - confidence.detach())


def ratio_loss(routed: Routed, mask: Tensor, target: float) -> Tensor:
    """N / (N - 1) * ((N - 1) F G + (1 - F) (1 - G)) over all symbols of the batch; only G has a gradient."""
    symbols = mask.sum()
    chosen, expected = routed.b.sum() / symbols, routed.p.sum() / symbols
    return target / (target - 1) * ((target - 1) * chosen * expected + (1 - chosen) * (1 - expected))


class GatedConvolution(nn.Module):
    """x + (silu(g) * conv(v)) W_out with (g, v) = norm(x) W_in: mixes each channel over `kernel` symbols, `dilation`
    apart, of the past only.
    """

    def __init__(self, dim: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.gain = nn.Parameter(torch.ones(dim))
        self.w_in = nn.Parameter(torch.randn(dim, 2 * dim) * dim**-0.5)
        self.taps = nn.Parameter(torch.randn(kernel, dim) * kernel**-0.5)
        self.w_out = nn.Parameter(torch.randn(dim, dim) * 0.5 * dim**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, T, d)` to `(B, T, d)`."""
        gate, value = (F.rms_norm(x, x.shape[-1:], self.gain, 1e-6) @ self.w_in).chunk(2, dim=-1)
        kernel, dim = self.taps.shape
        past = F.pad(value.transpose(1, 2), ((kernel - 1) * self.dilation, 0))
        mixed = F.conv1d(past, self.taps.t()[:, None, :].contiguous(), groups=dim, dilation=self.dilation)
        return x + (F.silu(gate) * mixed.transpose(1, 2)) @ self.w_out
