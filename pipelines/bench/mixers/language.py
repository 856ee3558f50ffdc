"""Language modelling of bytes: bits a byte of text that was not read in training."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fovea.pipelines.bench.longcontext.prose import prose
from fovea.pipelines.bench.mixers.network import Method, Plan, fitted, seeds, state_kb
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.rag.errors import ConfigError

MADE = 200_000
"""Bytes of made-up prose, where no text is given."""
WINDOWS = 32
"""Held-out windows on which a network is measured, at most."""


def parts(text: str | None, window: int) -> tuple[np.ndarray, np.ndarray]:
    """All but the last tenth of the bytes, and that. Raises ConfigError where a window does not fit in there."""
    data = _made() if text is None else text.encode("utf-8", "surrogatepass")
    train, held = np.split(np.frombuffer(data, np.uint8), [len(data) * 9 // 10])
    if len(held) <= window:
        raise ConfigError(
            f"a tenth of the text has {len(held)} bytes, a window needs {window + 1}",
            where="--text",
            fix=f"a text of {10 * window + 20} bytes or more, or --window {max(1, len(held) - 1)}",
        )
    return train, held


def rows(methods: Sequence[Method], plan: Plan, text: str | None, window: int) -> Iterator[Row]:
    """Bits a byte over held-out windows of all seeds, weights, and the state after a window."""
    train, held = parts(text, window)
    time = f"{plan.steps} steps" if plan.seconds is None else f"{plan.seconds:g} seconds"
    data = f"bytes of {'made-up prose' if text is None else 'a text'}, {window} at a time, {time}"
    count = min(WINDOWS, (len(held) - 1) // window)
    asked = _windows(held, np.arange(count) * window, window)
    for method in methods:
        found: list[float] = []
        for seed in seeds(plan):

            def loss(network: torch.nn.Module, step: int, seed: int = seed) -> Tensor:
                starts = np.random.default_rng((seed, step)).integers(0, len(train) - window, plan.batch)
                return _nats(network, _windows(train, starts, window)).mean()

            network = fitted(method, 256, plan, seed, loss)
            with torch.inference_mode():
                found += (_nats(network, asked).mean(dim=1) / math.log(2)).tolist()
        about = {**method.settings, **plan._asdict()}
        yield Row("mixers", data, method.name, "bits a byte", *interval(found), len(found), settings=about)
        yield Row("mixers", data, method.name, "state kB", state_kb(method, plan, window), settings=about)
        yield Row("mixers", data, method.name, "weights", float(network.weights), settings=about)


def _made() -> bytes:
    found, sentences = bytearray(), prose(0)
    while len(found) < MADE:
        found += next(sentences).encode() + b" "
    return bytes(found)


def _windows(text: np.ndarray, starts: np.ndarray, window: int) -> Tensor:
    return torch.from_numpy(np.stack([text[s : s + window + 1] for s in starts]).astype(np.int64))


def _nats(network: torch.nn.Module, data: Tensor) -> Tensor:
    logits = network(data[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), data[:, 1:].flatten(), reduction="none").view(len(data), -1)
