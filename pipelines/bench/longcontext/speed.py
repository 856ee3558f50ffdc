"""Rows of one length: seconds, agreement with full attention, bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from fovea.attention_retrieval.attention import Attention
from fovea.pipelines.bench.longcontext import drawn, ratios, sizes
from fovea.pipelines.bench.longcontext.drawn import PROBE
from fovea.pipelines.bench.longcontext.handing import hand, handed
from fovea.pipelines.bench.longcontext.methods import FULL, NEAR, Method
from fovea.pipelines.bench.longcontext.reading import Reader, extrapolated
from fovea.pipelines.bench.longcontext.steps import WARM, Steps, decode
from fovea.pipelines.bench.longcontext.task import Haystack
from fovea.pipelines.bench.longcontext.twins import Twins
from fovea.pipelines.evaluation.measurements import Row
from fovea.pipelines.evaluation.value import means
from fovea.rag.errors import FoveaError

WARMING = 1500
"""Tokens of the text that kernels are compiled with."""
Reading = Literal["drawn", "shared", "own"]


@dataclass(frozen=True)
class Plan:
    """How is measured."""

    read: Reading = "shared"
    """`drawn`: caches are filled with drawn keys; `shared`: read once and handed; `own`: each method reads."""
    decode: int = 32
    """Counted steps."""
    chunk: int = 512
    """Tokens read at a time."""
    threads: int = 1
    dtype: str = "auto"
    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """For the rows."""
        return {"read": self.read, "chunk": self.chunk, "threads": self.threads, "dtype": self.dtype, "seed": self.seed}


def rows(
    twins: Twins,
    methods: Sequence[Method],
    ids: Sequence[int],
    length: int,
    plan: Plan,
    missing: Callable[[str], None],
) -> Iterator[Row]:
    """Behind the first `length` of `ids`, all methods decode what follows there."""
    gone: dict[str, FoveaError] = {}
    reader = Reader(twins, methods, gone.setdefault, own=plan.read == "own")
    if plan.read == "drawn":
        reader.fill(drawn.probe(twins, ids), length, plan.seed)
        reader.seconds[FULL] = extrapolated(twins, reader.caches[FULL], length, ids[: min(plan.chunk, length)])
    else:
        reader.read(ids[:length], plan.chunk, f"reading {length:,} tokens")
    reader.cut_near()
    found = decode(
        twins, methods, reader.caches, ids[length : length + plan.decode + WARM], reader.length, gone.setdefault
    )
    kind = {"drawn": "keys drawn", "shared": "read once for all", "own": "read by each"}[plan.read]
    data = f"{twins.lm.name}, {length:,} tokens, {kind}, {plan.threads} thread{'s' * (plan.threads > 1)}"
    for method in methods:
        settings = {**method.settings, **plan.settings, "prefill": "extrapolated" if plan.read == "drawn" else "read"}
        if method.name in gone:
            missing(f"{method.name} is missing: {gone[method.name]}")
            yield Row("longcontext", data, method.name, "decode_ratio", None, settings=settings)
        elif method.name in found:
            for metric, value, low, high, n in _of(method, found, reader, plan):
                yield Row("longcontext", data, method.name, metric, value, low, high, n, None, settings)


Cell = tuple[str, float, float | None, float | None, int | None]


def _of(method: Method, found: dict[str, Steps], reader: Reader, plan: Plan) -> Iterator[Cell]:
    """Metric, value, ends and number of what it is over."""
    mine, full = found[method.name], found[FULL]
    n = len(mine.steady)
    yield "decode ms", 1e3 * float(np.median(mine.steady)), None, None, n
    yield "wall ms", 1e3 * float(np.median(mine.wall[WARM:])), None, None, n
    if method.name in reader.seconds:
        yield "prefill s", reader.seconds[method.name], None, None, 1
    if method.name == FULL:
        return
    yield "decode_ratio", *ratios.ratio(full.steady, mine.steady), n
    if method.name == NEAR:
        return
    if NEAR in found:
        yield "gain_share", *ratios.share(full.steady, mine.steady, found[NEAR].steady), n
    if plan.read == "own":
        yield "prefill_ratio", reader.seconds[FULL] / reader.seconds[method.name], None, None, 1
    yield "first s", mine.first, None, None, 1
    yield "first_token_share", mine.first / reader.seconds[FULL], None, None, 1
    if plan.read != "drawn":
        for name, value in means(
            {"top1": mine.same, "kl": mine.kl}, dict.fromkeys(("top1", "kl"), len(mine.kl))
        ).items():
            yield name, value.mean, *value.ends, value.n
    yield from _bytes(method, reader)


def _bytes(method: Method, reader: Reader) -> Iterator[Cell]:
    """In memory over full attention's cache, and over what keys and values take as bf16; of the file over the same."""
    full, cache = reader.caches[FULL], reader.caches[method.name]
    kept, bf16 = sizes.kept(cache), sizes.BF16 * sizes.numbers(full)
    yield "bytes", kept / sizes.held(full), None, None, 1
    yield "memory_ratio", kept / bf16, None, None, 1
    if hasattr(cache, "save"):
        yield "file_share", sizes.saved(cache) / bf16, None, None, 1


def warm(twins: Twins, methods: Sequence[Method], ids: Sequence[int]) -> None:
    """Have everything compiled before a step is timed: drawn keys in one layer of each method's cache, and a few steps.

    What `auto` takes for a longer text alone may still be compiled there.
    """
    seen = drawn.probe(twins, ids)
    for method in methods:
        if method.spec is None:
            continue
        try:
            cache = Method(method.name, _searching(handed(method.spec))).cache(twins)
            last = [one for one in seen if not getattr(cache.layers[one.layer], "is_sliding", False)][-1:]
            for n, tokens in enumerate([WARMING, *[1] * WARM]):
                drawn.fill(partial(hand, cache, method.implementation), last, tokens, n)
        except FoveaError:
            continue  # it is told when it is measured


def _searching(spec: Attention) -> Attention:
    """The same, but that an index is built over a short text already."""
    bounded = {"dense_below": 0} if "dense_below" in type(spec).model_fields else {}
    return spec.model_copy(update=bounded)


def text_ids(twins: Twins, haystack: Haystack, tokens: int, seed: int) -> list[int]:
    """The first tokens of running text, with some to spare for the steps that are not counted."""
    said, size = [], 0
    for sentence in haystack(seed):
        said.append(sentence)
        size += len(sentence)
        if size > 8 * (tokens + PROBE):  # a token has fewer characters than that in nearly any text
            break
    return list(twins.lm.tokenizer(" ".join(said), verbose=False)["input_ids"])
