"""Speed by length: tokens a second in parallel, milliseconds of a step after so many, and what is kept then."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import torch
from torch import Tensor

from fovea.pipelines.bench.mixers.network import Method, Plan
from fovea.pipelines.evaluation.measurements import Row
from fovea.segmenters.mixing.module import Mixing

PIECE = 1024
"""Tokens read at a time before steps are timed."""
STEPS = 16


def rows(methods: Sequence[Method], plan: Plan, lengths: Sequence[int], repeat: int = 2) -> Iterator[Row]:
    """Of one layer, a method and a length at a time; the best of `repeat` times."""
    for length in lengths:
        for method in methods:
            torch.manual_seed(plan.seed)
            net, x = Mixing(method.mixer, plan.width).eval(), torch.randn(1, length, plan.width)
            about, data = dict(method.settings), f"one layer {plan.width} wide, {length} tokens"
            for metric, value in {**times(net, x, repeat), "state kB": 4 * net.state_size(length) / 1000}.items():
                yield Row("mixers", data, method.name, metric, value, n=repeat, settings=about)


@torch.inference_mode()
def times(net: Mixing, x: Tensor, repeat: int) -> dict[str, float]:
    """Of the whole of x `(1, T, width)` in parallel, and of one step after it."""
    whole, state = _best(lambda: net(x), repeat), None
    for part in x.split(PIECE, dim=1):
        _, state = net.chunk(part, state)
    each = _best(lambda: [net.step(x[:, 0], state) for _ in range(STEPS)], repeat) / STEPS
    return {"tokens/s": x.shape[1] / whole, "ms a step": 1000 * each}


def _best(run: Callable[[], object], repeat: int) -> float:
    """Seconds of the fastest of so many runs."""
    found = []
    for _ in range(repeat):
        began = perf_counter()
        run()
        found.append(perf_counter() - began)
    return min(found)
