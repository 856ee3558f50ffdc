"""SentenceNetwork: dynamic chunking of sentence vectors, trained end to end without being told where topics end.

    e'_1..e'_T, centred vectors
    f_t = a + sum_d w_d e'_{t-d}   g_t = b + sum_d w_d e'_{t+d}       encoder: what was said, and what comes
    p_t = (1 - cos(W_q f_{t-1}, W_k g_t)) / 2                         router
    chunks: g at boundaries -> GRU over chunks -> moving average -> zbar
    o_t = W_o (zbar(t) * ste(c_t) + W_r f_{t-1})                      decoder: what the sentences from t on say

A chunk is represented by what comes from its first sentence on, and has to do for all of its sentences, so it pays to
start a new one where what comes is no longer what the last one said. The encoder is one weighted mean for both
directions and the decoder is linear, on purpose: convolutions or states of more freedom learn to write the order of
coming sentences into a chunk's state, and then chunks of even length are best, wherever topics end.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fovea.segmenters.training.hnet_parts import Routed, chunk, dechunk, route, straight_through

SLOW = 0.1
"""How much slower W_q and W_k learn than the rest; as fast, they learn the training texts by heart."""
FAST = 10.0
"""How much faster the weights of the mean do, of which there are few."""


class Read(NamedTuple):
    """What a forward pass gives, for symbols `(B, T)`."""

    queries: Tensor
    """W_q f, `(B, T, d)`."""
    keys: Tensor
    """W_k g, `(B, T, d)`."""
    predicted: Tensor
    """o, `(B, T, d)`."""
    routed: Routed


class SentenceNetwork(nn.Module):
    """One stage of dynamic chunking over vectors of length `dim`; the GRU is `width` wide, means take `reach` units."""

    def __init__(self, dim: int, width: int, reach: int) -> None:
        super().__init__()
        # At first a state is nearly its own sentence, and the router compares neighbouring sentences.
        self.logits = nn.Parameter(F.one_hot(torch.tensor(0), reach) * 4 / FAST)
        self.shift_back, self.shift_ahead = nn.Parameter(torch.zeros(dim)), nn.Parameter(torch.zeros(dim))
        self.query_step, self.key_step = nn.Parameter(torch.zeros(dim, dim)), nn.Parameter(torch.zeros(dim, dim))
        self.down, self.up = nn.Linear(dim, width, bias=False), nn.Linear(width, dim, bias=False)
        self.main = nn.GRU(width, width, batch_first=True)
        self.skip, self.head = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.skip.weight)
        nn.init.eye_(self.head.weight)

    @property
    def weights(self) -> Tensor:
        """w_d, the nearest first: `(reach,)`, of sum 1."""
        return torch.softmax(self.logits * FAST, dim=0)

    @property
    def query(self) -> Tensor:
        """W_q `(d, d)`."""
        return torch.eye(len(self.query_step), device=self.query_step.device) + SLOW * self.query_step

    @property
    def key(self) -> Tensor:
        """W_k `(d, d)`."""
        return torch.eye(len(self.key_step), device=self.key_step.device) + SLOW * self.key_step

    def encode(self, vectors: Tensor) -> tuple[Tensor, Tensor]:
        """f and g of centred vectors `(B, T, d)`, zero where padded."""
        return self._mean(vectors) + self.shift_back, self._mean(vectors.flip(1)).flip(1) + self.shift_ahead

    def forward(self, vectors: Tensor, mask: Tensor) -> Read:
        """Read centred vectors `(B, T, d)`, zero where padded."""
        back, ahead = self.encode(vectors)
        queries, keys = back @ self.query, ahead @ self.key
        routed = route(queries, keys, mask)
        chunks, _, p = chunk(ahead, routed)
        smooth = dechunk(chunks + self.up(self.main(self.down(chunks))[0]), p, routed.b)
        before = self.skip(F.pad(back[:, :-1], (0, 0, 1, 0)))
        return Read(queries, keys, self.head(smooth * straight_through(routed.c)[..., None] + before), routed)

    def _mean(self, vectors: Tensor) -> Tensor:
        reach, length = len(self.logits), vectors.shape[1]
        past = F.pad(vectors, (0, 0, reach - 1, 0))
        return sum(w * past[:, reach - 1 - d : reach - 1 - d + length] for d, w in enumerate(self.weights))
