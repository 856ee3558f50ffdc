"""Multi-query associative recall: keys and values, then keys alone, whose values are asked.

    k_1 v_1 k_2 v_2 ... k_n v_n . . k_2 v_2 . . . k_n v_n . k_1 v_1      asked at each key of the second part

Keys and values are drawn anew for each text, from two halves of the symbols, so nothing can be learned by heart. Where
a key comes again is drawn so that short waits are more frequent than long ones, in a power law. S. Arora et al.,
"Zoology: measuring and improving recall in efficient language models" (2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fovea.pipelines.bench.mixers.network import Method, Network, Plan, fitted, seeds, state_kb
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.rag.errors import ConfigError

SYMBOLS = 64
"""Kinds of tokens: 0 for nothing, then keys, then values."""
POWER = 0.01
"""The shape of the waits, as in the paper."""
ASKED = 64
"""Texts on which a network is measured."""


def texts(draw: np.random.Generator, count: int, tokens: int, pairs: int) -> tuple[Tensor, Tensor]:
    """Tokens `(count, tokens)`, and what each asks for, 0 where nothing. Raises ConfigError where they do not fit."""
    half = SYMBOLS // 2
    if tokens % 2 or tokens < 4 * pairs or pairs >= half:
        raise ConfigError(
            f"{pairs} pairs are asked in an even number of tokens from {4 * pairs}, and there are {half - 1} keys",
            where="--tokens",
            fix=f"--tokens {4 * min(pairs, half - 1)} --pairs {min(pairs, half - 1)}",
        )
    slots = (tokens - 2 * pairs) // 2
    shares = POWER * np.arange(1, slots + 1) ** (POWER - 1)
    found, wanted = np.zeros((count, tokens), np.int64), np.zeros((count, tokens), np.int64)
    for row, want in zip(found, wanted):
        keys = draw.choice(np.arange(1, half), pairs, replace=False)
        values = draw.choice(np.arange(half, SYMBOLS), pairs, replace=False)
        row[: 2 * pairs : 2], row[1 : 2 * pairs : 2] = keys, values
        again = 2 * pairs + 2 * draw.choice(slots, pairs, replace=False, p=shares / shares.sum())
        row[again], row[again + 1], want[again] = keys, values, values
    return torch.from_numpy(found), torch.from_numpy(wanted)


def rows(methods: Sequence[Method], plan: Plan, tokens: int, pairs: int) -> Iterator[Row]:
    """Recall over held-out texts of all seeds, weights, and the state after a text."""
    data = f"recall of {pairs} pairs in {tokens} tokens, {plan.layers} layers {plan.width} wide"
    for method in methods:
        found: list[float] = []
        for seed in seeds(plan):
            network = fitted(method, SYMBOLS, plan, seed, partial(_loss, seed, plan, (tokens, pairs)))
            asked, wanted = texts(np.random.default_rng((seed, 1 << 40)), ASKED, tokens, pairs)
            with torch.inference_mode():
                right = (network(asked).argmax(dim=-1) == wanted) & (wanted > 0)
            found += (right.sum(dim=1) / pairs).tolist()
        about = {**method.settings, **plan._asdict()}
        mean, low, high = interval(found, shares=True)
        yield Row("mixers", data, method.name, "recall", mean, low, high, len(found), settings=about)
        yield Row("mixers", data, method.name, "state kB", state_kb(method, plan, tokens), settings=about)
        yield Row("mixers", data, method.name, "weights", float(network.weights), settings=about)


def _loss(seed: int, plan: Plan, sizes: tuple[int, int], network: Network, step: int) -> Tensor:
    asked, wanted = texts(np.random.default_rng((seed, step)), plan.batch, *sizes)
    return F.cross_entropy(network(asked)[wanted > 0], wanted[wanted > 0])
