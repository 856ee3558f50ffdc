"""ByteNetwork: a language model of bytes that makes its own words and phrases, in two stages of dynamic chunking.

    bytes (128) -> outer encoder -> router 1 -> chunks (192) -> inner encoder -> router 2 -> phrases (192)
        -> transformer -> dechunk -> inner decoder -> dechunk -> outer decoder -> next byte

Encoders and decoders are gated causal convolutions, in the place of the paper's state-space layers, or else one stage
of any mixer (`fovea.rag.mixer`) with as many weights; the transformer in the middle sees phrases only. Around each
stage runs a linear residual that starts at zero; what comes back from it is multiplied by a straight-through
confidence, so that the router learns from the loss of the bytes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fovea.rag.mixer import Mixer
from fovea.segmenters.byte_chunks import INNER, OUTER
from fovea.segmenters.mixing.stage import Stage, size
from fovea.segmenters.training.hnet_parts import GatedConvolution, Routed, Router, chunk, dechunk, straight_through

DEPTHS = {"outer": OUTER, "inner": INNER, "inner_out": 2 / 3, "outer_out": 1.0}
"""Places of the stages, from the first to the last, for mixers that differ by layer."""


class Shape(NamedTuple):
    """Sizes of a byte network."""

    outer: int = 128
    """Width of bytes."""
    inner: int = 192
    """Width of chunks and phrases."""
    kernel: int = 8
    dilations: tuple[int, ...] = (1, 8)
    """One gated convolution for each, in every encoder and decoder."""
    layers: int = 3
    """Of the transformer in the middle."""


class Read(NamedTuple):
    """What a forward pass gives: next-byte logits `(B, T, 256)`, and for each stage its routing and mask."""

    logits: Tensor
    stages: list[tuple[Routed, Tensor]]


class ByteNetwork(nn.Module):
    """Two stages of dynamic chunking over bytes; without a mixer, of gated convolutions."""

    def __init__(self, shape: Shape, mixer: Mixer | None = None) -> None:
        super().__init__()

        def stage(name: str, dim: int) -> nn.Module:
            if mixer is not None:
                return Stage(mixer, dim, weights(shape, dim), DEPTHS[name])
            return nn.Sequential(*(GatedConvolution(dim, shape.kernel, d) for d in shape.dilations))

        self.embed = nn.Embedding(256, shape.outer)
        self.outer, self.outer_router = stage("outer", shape.outer), Router(shape.outer)
        self.widen = nn.Parameter(torch.zeros(shape.inner - shape.outer))
        self.inner, self.inner_router = stage("inner", shape.inner), Router(shape.inner)
        self.middle = nn.ModuleList(Layer(shape.inner) for _ in range(shape.layers))
        self.inner_skip, self.outer_skip = _skip(shape.inner), _skip(shape.outer)
        self.inner_out, self.outer_out = stage("inner_out", shape.inner), stage("outer_out", shape.outer)
        self.head = nn.Sequential(nn.RMSNorm(shape.outer), nn.Linear(shape.outer, 256))

    def forward(self, data: Tensor) -> Read:
        """Read bytes `(B, T)`, as integers, every row full."""
        mask = torch.ones_like(data, dtype=torch.bool)
        states = self.outer(self.embed(data))
        routed = self.outer_router(states, mask)
        words, word_mask, word_p = chunk(states, routed)
        back, inner = self.words(torch.cat([words, self.widen.expand(*words.shape[:2], -1)], dim=-1), word_mask)
        down = dechunk(back[..., : states.shape[-1]], word_p, routed.b)
        states = self.outer_out(down * straight_through(routed.c)[..., None] + self.outer_skip(states))
        return Read(self.head(states), [(routed, mask), (inner, word_mask)])

    def words(self, states: Tensor, mask: Tensor) -> tuple[Tensor, Routed]:
        """The inner stage: chunks `(B, M, d)` to what comes back for them, and their routing."""
        states = self.inner(states)
        routed = self.inner_router(states, mask)
        phrases, _, p = chunk(states, routed)
        for layer in self.middle:
            phrases = layer(phrases)
        down = dechunk(phrases, p, routed.b)
        return self.inner_out(down * straight_through(routed.c)[..., None] + self.inner_skip(states)), routed


def weights(shape: Shape, dim: int) -> int:
    """Of the gated convolutions of one encoder or decoder, so many numbers."""
    return len(shape.dilations) * size(GatedConvolution(dim, shape.kernel, 1).parameters())


class Layer(nn.Module):
    """A causal transformer layer with rotary positions. Padding comes last, so nothing true ever looks at it."""

    def __init__(self, dim: int, head: int = 32) -> None:
        super().__init__()
        self.head = head
        self.before, self.between = nn.RMSNorm(dim), nn.RMSNorm(dim)
        self.read, self.write = nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.up, self.down = nn.Linear(dim, 4 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, M, d)` to `(B, M, d)`."""
        q, k, v = (
            part.unflatten(-1, (-1, self.head)).transpose(1, 2) for part in self.read(self.before(x)).chunk(3, -1)
        )
        heard = F.scaled_dot_product_attention(_rotate(q), _rotate(k), v, is_causal=True)
        x = x + self.write(heard.transpose(1, 2).flatten(2))
        gate, value = self.up(self.between(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * value)


def _rotate(x: Tensor) -> Tensor:
    """Turn pairs of channels of `(B, H, M, d)` by angles that grow with the position."""
    half = x.shape[-1] // 2
    speeds = 10_000 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(x.shape[-2], device=x.device)[:, None] * speeds
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)


def _skip(dim: int) -> nn.Linear:
    skip = nn.Linear(dim, dim, bias=False)
    nn.init.zeros_(skip.weight)
    return skip
