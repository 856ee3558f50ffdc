"""SentenceNetwork: dynamic chunking of sentence vectors, trained end to end without being told where topics end.

    vectors -> linear -> convolutions that look back (f) and convolutions that look ahead (g)
    p_t = (1 - cos(W_q f_{t-1}, W_k g_t)) / 2                          router: what was said against what comes
    chunks: g at boundaries -> GRU over chunks -> moving average -> y_t = zbar(t) * ste(c_t) + W_r f_{t-1}
    y_t, decoded by convolutions, predicts the mean of the `ahead` sentences from t on

A chunk is represented by the state that looks ahead from its first sentence, and has to do for all its sentences: it
pays to start a new one where what comes is no longer what the last one announced. The residual sees the past alone.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from segmenters.training.hnet_parts import GatedConvolution, Routed, Router, chunk, dechunk, straight_through

DILATIONS = (1, 2)


class Read(NamedTuple):
    """Predictions `(B, T, dim)` of the content from each sentence on, and the routing."""

    predicted: Tensor
    routed: Routed


class SentenceNetwork(nn.Module):
    """One stage of dynamic chunking over centred sentence vectors of length `dim`."""

    def __init__(self, dim: int, width: int, kernel: int) -> None:
        super().__init__()

        def convolutions() -> nn.Sequential:
            return nn.Sequential(*(GatedConvolution(width, kernel, dilation) for dilation in DILATIONS))

        self.project = nn.Parameter(torch.randn(dim, width) * dim**-0.5)
        self.back, self.ahead, self.decode = convolutions(), convolutions(), convolutions()
        self.router = Router(width)
        self.main = nn.GRU(width, width, batch_first=True)
        self.skip = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.skip.weight)
        self.head = nn.Linear(width, dim, bias=False)

    def encode(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """States that look back and states that look ahead, each `(B, T, width)`; padding is zero and stays so."""
        states = vectors @ self.project
        return self.back(states), self.ahead(states.flip(1)).flip(1)

    def forward(self, vectors: Tensor, mask: Tensor) -> Read:
        """Read centred vectors `(B, T, dim)`, zero where padded."""
        back, ahead = self.encode(vectors)
        routed = self.router(back, mask, ahead)
        chunks, _, p = chunk(ahead, routed)
        smooth = dechunk(chunks + self.main(chunks)[0], p, routed.b)
        before = nn.functional.pad(back[:, :-1], (0, 0, 1, 0))
        states = (smooth * straight_through(routed.c)[..., None] + self.skip(before)) * mask[..., None]
        return Read(self.head(self.decode(states)), routed)
