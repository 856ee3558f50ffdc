"""The pointer network in torch, batched; `fovea.segmenters.pointer_network` is the same in NumPy and holds the
formulas."""

from __future__ import annotations

import torch
from torch import nn

from fovea.segmenters.pointer_network import DILATIONS, KERNEL


class Layer(nn.Module):
    """h + out(value * sigmoid(gate)), value and gate by a dilated convolution of the normalised states."""

    def __init__(self, width: int, dilation: int, drop: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        padding = dilation * (KERNEL - 1) // 2
        self.conv = nn.Conv1d(width, 2 * width, KERNEL, dilation=dilation, padding=padding)
        self.out, self.drop = nn.Linear(width, width), nn.Dropout(drop)

    def forward(self, h: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """`(texts, units, width)` to the same; `there` is 0 at padding."""
        value, gate = self.conv((self.norm(h) * there).transpose(1, 2)).transpose(1, 2).chunk(2, -1)
        return h + self.out(self.drop(value * torch.sigmoid(gate)))


class PointerNet(nn.Module):
    """States of units, logits of gaps, and logits of where the segment that begins at each unit ends."""

    def __init__(self, dim: int, known: int, width: int, reach: int, drop: float) -> None:
        super().__init__()
        self.read, self.known, self.drop = nn.Linear(2 * dim, width), nn.Linear(known, width), nn.Dropout(drop)
        self.layers = nn.ModuleList(Layer(width, dilation, drop) for dilation in DILATIONS)
        self.norm = nn.LayerNorm(width)
        self.gap = nn.ModuleList([nn.Linear(3 * width + known, 64), nn.Linear(64, 1)])
        self.key, self.start = nn.Linear(width, 64), nn.Linear(width, 64, bias=False)
        self.vote, self.length = nn.Linear(64, 1, bias=False), nn.Parameter(torch.zeros(reach))

    def forward(
        self, both: torch.Tensor, known: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits `(texts, gaps)` and `(texts, units, reach)`, the latter -10,000 past a text's last unit."""
        n, reach = both.shape[1], len(self.length)
        there = (torch.arange(n) < lengths[:, None]).to(both.dtype)[..., None]
        h = self.read(self.drop(both)) + self.known(known)
        for layer in self.layers:
            h = layer(h, there)
        h = self.norm(h) * there
        x = torch.cat([h[:, :-1], h[:, 1:], h[:, :-1] * h[:, 1:], known[:, 1:]], -1)
        gaps = self.gap[1](self.drop(torch.relu(self.gap[0](x))))[..., 0]
        # The gap after a text's last unit is no gap: its logit there is 0, as in NumPy.
        own = nn.functional.pad(gaps, (0, reach)) * (torch.arange(n + reach - 1) < lengths[:, None] - 1)
        keys = nn.functional.pad(self.key(h), (0, 0, 0, reach - 1)).unfold(1, reach, 1).transpose(2, 3)
        ends = self.vote(torch.tanh(keys + self.start(h)[:, :, None]))[..., 0] + own.unfold(1, reach, 1) + self.length
        past = torch.arange(n)[:, None] + torch.arange(reach) >= lengths[:, None, None]
        return gaps, ends.masked_fill(past, -1e4)
