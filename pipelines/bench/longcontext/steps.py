"""Decoding behind a text, all methods in turn at each token, so that what else the machine does falls on all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.pipelines.bench.longcontext.methods import FULL, Method
from fovea.pipelines.bench.longcontext.twins import Twins, read
from fovea.rag.errors import FoveaError

WARM = 2
"""First steps that are not counted: the first builds what a cache builds, the second may still allocate."""


@dataclass
class Steps:
    """One method's steps, all of them: processor seconds and wall seconds; of the counted ones the agreement."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    """1 where the likeliest next token is that of full attention."""
    kl: list[float] = field(default_factory=list)
    """sum p log(p / q) over the vocabulary, p of full attention, nats."""

    @property
    def steady(self) -> list[float]:
        """Processor seconds of the counted steps."""
        return self.cpu[WARM:]

    @property
    def first(self) -> float:
        """Processor seconds that the first step took beyond a usual one."""
        return max(self.cpu[0] - float(np.median(self.steady)), 0.0)


def decode(
    twins: Twins,
    methods: Sequence[Method],
    caches: Mapping[str, Any],
    tokens: Sequence[int],
    position: int,
    missing: Callable[[str, FoveaError], object],
) -> dict[str, Steps]:
    """Give every cache `tokens` one by one (teacher forcing), the first at `position`; `full` must be among them.

    A method that fails is left out, and `missing` is told.
    """
    found = {method.name: Steps() for method in methods if method.name in caches}
    going = [method for method in methods if method.name in found]
    for n, token in enumerate(tokens):
        turn = n % len(going)
        logits = {}
        for method in (*going[turn:], *going[:turn]):
            try:
                logits[method.name] = _step(twins, method, caches, token, position + n, found[method.name])
            except FoveaError as error:
                missing(method.name, error)
                del found[method.name]
        going = [method for method in going if method.name in found]
        sure = logits[FULL].log_softmax(-1)
        for name in found:
            other = logits[name].log_softmax(-1)
            found[name].same.append(float(other.argmax() == sure.argmax()))
            found[name].kl.append(max(float((sure.exp() * (sure - other)).sum()), 0.0))
    return found


def _step(twins: Twins, method: Method, caches: Mapping[str, Any], token: int, position: int, steps: Steps) -> Any:
    model, cache = method.model(twins), caches[method.name]
    cpu, wall = time.process_time(), time.perf_counter()
    made = read(model, cache, [token], position)
    steps.cpu.append(time.process_time() - cpu)
    steps.wall.append(time.perf_counter() - wall)
    return made
