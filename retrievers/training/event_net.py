"""The event head as a network of torch, and InfoNCE over the candidates of one question."""

from __future__ import annotations

import torch
from torch import nn

from fovea.retrievers.event_head import FEATURES


class EventHead(nn.Module):
    """`fovea.retrievers.event_head` on batches, with what is only there for training."""

    missed: torch.Tensor
    """What the model of the first stage put too high for each question: int `(questions, negatives)`, -1 for none."""

    def __init__(
        self, dim: int, *, missed: torch.Tensor, heads: int, width: int, rank: int, dropout: float, unseen: float
    ) -> None:
        super().__init__()
        self.register_buffer("missed", missed)
        self.unseen = unseen
        self.query = nn.Linear(dim, heads * width)
        self.key = nn.Linear(dim + FEATURES, heads * width, bias=False)
        for layer in (self.query, self.key):
            nn.init.normal_(layer.weight, std=0.05)
        self.null = nn.Parameter(torch.zeros(heads, width))
        self.down = nn.Linear(dim + FEATURES, rank, bias=False)
        self.up = nn.Linear(heads * rank, dim, bias=False)
        self.gate = nn.Linear(3 * dim, 2)
        for zero in (self.up.weight, self.gate.weight):
            nn.init.zeros_(zero)
        self.gate.bias.data = torch.tensor([-2.0, 0.0])
        self.drop = nn.Dropout(dropout)
        self.inside = nn.Linear(3 * dim, 1)
        # Single numbers learn too slowly beside matrices; they are kept on a scale of their own.
        self.scales = nn.ParameterDict({
            "near": torch.zeros(heads), "nothing": torch.zeros(heads), "share": torch.zeros(heads),
            "times": torch.zeros(heads, FEATURES), "moment": torch.zeros(2),
        })  # fmt: skip

    def scaled(self) -> dict[str, torch.Tensor]:
        """The single numbers as they are used."""
        s = self.scales
        return {
            "near": 10 * torch.exp(4 * s["near"]),
            "nothing": 5 + 4 * s["nothing"],
            "share": 4 * s["share"],
            "times": 4 * s["times"],
            "moment": torch.tensor([1.25, 1.75]) * torch.exp(4 * s["moment"]),
        }

    def used(self) -> dict[str, torch.Tensor]:
        """All that using the head needs, by the names that `fovea.retrievers.event_head` reads."""
        layers = ("query.weight", "query.bias", "key.weight", "null", "down.weight", "up.weight")
        state = self.state_dict()
        return {name: state[name] for name in (*layers, "gate.weight", "gate.bias")} | self.scaled()

    def forward(
        self, asked: torch.Tensor, events: torch.Tensor, times: torch.Tensor, there: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """q' `(n, dim)`, the gates `(n, 2)` and the pull of events `(n,)` of unit questions `(n, dim)`; events
        `(n, k, dim)`, their tau, and which of them are there, bool `(n, k)`.
        """
        scaled, (heads, width) = self.scaled(), self.null.shape
        read = torch.cat([events, times], -1)
        query = self.query(asked).unflatten(-1, (heads, width))
        keys = self.key(read).unflatten(-1, (heads, width))
        logits = torch.einsum("nhd,nkhd->nhk", query, keys) / width**0.5
        alike = torch.einsum("nd,nkd->nk", asked, events)
        logits = logits + scaled["near"][:, None] * alike[:, None] + scaled["times"] @ times.transpose(1, 2)
        if self.training:
            there = there & (torch.rand(there.shape) >= self.unseen)
        logits = logits.masked_fill(~there[:, None], -1e9)
        nothing = (query * self.null).sum(-1) / width**0.5 + scaled["nothing"]
        weights = torch.cat([nothing[..., None], logits], -1).softmax(-1)[..., 1:]
        context = torch.einsum("h,nhk,nkd->nd", scaled["share"], weights, events)
        context = context + self.up(self.drop((weights @ self.down(read)).flatten(1)))
        gates = torch.sigmoid(self.gate(torch.cat([asked, context, asked * context], -1)))
        let_in = gates[:, :1] * context
        return nn.functional.normalize(asked + let_in, dim=-1), gates, let_in.norm(dim=-1)


def info_nce(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """-log of the share of the softmax that is right."""
    return logits.logsumexp(0) - logits.masked_fill(~right, -torch.inf).logsumexp(0)
