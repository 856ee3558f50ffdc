"""The network that mixers are compared in: equal but for them, and as large.

    h_t = E x_t + taps * E x_{t-1};  layers of a mixer and a feed-forward layer;  logits = norm(h) W

What the token before was is given to all of them, since binding a value to the key before it is no question of
recalling it. Each layer has 8 width^2 weights, of which the feed-forward layer takes what the mixer leaves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from fovea.rag.mixer import Mixer
from fovea.rag.training.loop import rate, seed_of
from fovea.segmenters.mixing.stage import Stage, size


class Method(NamedTuple):
    """A mixer, what its row is called, and its settings."""

    name: str
    mixer: Mixer

    @property
    def settings(self) -> Mapping[str, Any]:
        """As YAML would have them."""
        return self.mixer.settings()


class Plan(NamedTuple):
    """Sizes of the networks and of their training."""

    width: int = 64
    layers: int = 1
    steps: int = 200
    seconds: float | None = None
    """Of training, instead of steps."""
    batch: int = 32
    learning_rate: float = 1e-2
    seeds: int = 1
    seed: int = 0


class Network(nn.Module):
    """Tokens `(B, T)` of `symbols` kinds to logits `(B, T, symbols)`."""

    def __init__(self, mixer: Mixer, symbols: int, width: int, layers: int) -> None:
        super().__init__()
        self.embed, self.taps = nn.Embedding(symbols, width), nn.Parameter(torch.ones(width))
        depths = [n / max(1, layers - 1) for n in range(layers)]
        self.layers = nn.Sequential(*(Stage(mixer, width, 8 * width * width, depth) for depth in depths))
        self.head = nn.Sequential(nn.RMSNorm(width), nn.Linear(width, symbols, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every token."""
        found = self.embed(tokens)
        before = nn.functional.pad(found[:, :-1], (0, 0, 1, 0))
        return self.head(self.layers(found + self.taps * before))

    @property
    def weights(self) -> int:
        """Numbers that are trained."""
        return size(self.parameters())


def fitted(method: Method, symbols: int, plan: Plan, seed: int, loss: Callable[[Network, int], Tensor]) -> Network:
    """A network trained by AdamW, a warm-up and a cosine, on the loss of each step; ready to be asked."""
    from time import perf_counter

    torch.manual_seed(seed)
    network = Network(method.mixer, symbols, plan.width, plan.layers)
    optimizer = torch.optim.AdamW(network.parameters(), plan.learning_rate, weight_decay=0.01)
    began, step = perf_counter(), 0
    while (share := _share(plan, step, perf_counter() - began)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * rate(int(share * 1000), 1000)
        torch.manual_seed(seed_of(seed, step))
        optimizer.zero_grad()
        loss(network, step).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
    return network.eval()


def _share(plan: Plan, step: int, seconds: float) -> float:
    """How much of the training is over."""
    return step / plan.steps if plan.seconds is None else seconds / plan.seconds


def state_kb(method: Method, plan: Plan, tokens: int) -> float:
    """Kilobytes that the layers of a network keep after so many tokens, as float32."""
    return plan.layers * 4 * method.mixer.state_size(plan.width, tokens) / 1000


def seeds(plan: Plan) -> Sequence[int]:
    """One a network."""
    return range(plan.seed, plan.seed + plan.seeds)
