"""`fovea bench attention`: what index engines find among a model's own keys, what they read for it, in what time.

Held-out queries of a dump (`fovea capture`) are searched in the groups in which a model asks them, all heads of a kv
head together. Rows are over all measured heads:

    recall@k      share of the k best dynamic keys that was found, mean over query heads with a 95 % interval
    p5 head       the same of the query head at the 5th percentile
    of question   recall by where queries come from: a question, the text's continuation, the model's own words (decode)
    scanned %     distinct full-width vectors scored for the group, centroids included, of the dynamic keys
    kB            read by a search; of dense attention, keys only
    mass          share of the exact softmax that static set and found keys cover; of attention without a correction
    rel. L2       |output - exact output| / |exact output|, mean over queries
    select, attend, and their sum: milliseconds of one group at one token, median and 95th percentile
    build s       of one kv head
    index %       bytes of the index, of those of the dynamic keys as they are stored
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fovea.attention_retrieval.capture.dump import Dump
from fovea.pipelines.bench.attention_heads import Plan, heads, limits
from fovea.pipelines.bench.attention_measure import Measured, measured, threads, warm
from fovea.pipelines.bench.attention_methods import Method
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.rag.errors import FoveaError
from fovea.rag.progress import bar

ENOUGH = 0.95
"""Recall at which methods are compared when they are swept."""


def rows(
    dump: Dump, methods: Sequence[Method], plan: Plan, *, each: bool = False, missing: Callable[[str], None]
) -> Iterator[Row]:
    """All rows of a dump; with `each`, those of single heads before them. `missing` is told of what cannot run."""
    found: dict[str, dict[str, Measured]] = {}
    gone: dict[str, FoveaError] = {}
    settings = {name: s for method in methods for name, s in method.settings.items()}
    count = len(plan.layers or dump.facts.layers) * len(plan.heads or range(dump.facts.kv_heads))
    with threads(plan.threads), bar(dump.path.stem, count) as progress:
        for n, head in enumerate(heads(dump, plan)):
            if n == 0:
                warm(head, methods, plan)
            for name, one in measured(head, methods, plan, gone.setdefault).items():
                found.setdefault(name, {})[head.label] = one
            progress.advance()
    for name, error in gone.items():
        missing(f"{name} is missing: {error}")
        yield Row("attention", label(dump, plan), name, f"recall@{plan.k}", None, settings=settings.get(name, {}))
    labels = list(dict.fromkeys(at for by_head in found.values() for at in by_head))
    for at in labels if each else ():
        for name, by_head in found.items():
            yield from _rows(f"{label(dump, plan)}, {at}", name, [by_head[at]], plan, settings.get(name, {}))
    for name, by_head in found.items():
        yield from _rows(label(dump, plan), name, list(by_head.values()), plan, settings.get(name, {}))


def label(dump: Dump, plan: Plan) -> str:
    """What was measured, in a line."""
    facts, tokens = dump.facts, min(plan.tokens or dump.facts.tokens, dump.facts.tokens)
    start, stop = limits(dump, plan, tokens)
    ways = {"prefill": "", "block-prefill": f", block-prefill of {facts.blocks}", "windows": ", windows"}
    thread = f"{plan.threads} thread" + "s" * (plan.threads > 1)
    return (
        f"{dump.path.stem}: {tokens:,} tokens{ways[facts.source]}, {stop - start:,} keys, d={facts.d}, "
        f"{facts.group} a group, {plan.dtype}, {thread}"
    )


def _rows(data: str, name: str, heads: list[Measured], plan: Plan, settings: dict[str, Any]) -> Iterator[Row]:
    told = {**settings, "k": plan.k, "threads": plan.threads, "dtype": plan.dtype, "repeat": plan.repeat}

    def row(
        metric: str, value: float, low: float | None = None, high: float | None = None, n: int | None = None
    ) -> Row:
        return Row("attention", data, name, metric, value, low, high, n, None, told)

    if heads[0].recall:
        each = by_query_head(heads)
        yield row(f"recall@{plan.k}", *interval(each, shares=True), len(each))
        yield row("p5 head", float(np.quantile(each, 0.05)), n=len(each))
        yield from (row(f"of {kind}", *one) for kind, one in by_kind(heads).items())
    steps = sum(len(h.bytes) for h in heads)
    yield row("scanned %", 100 * float(np.mean([h.scanned for h in heads])), n=steps)
    yield row("kB", float(np.mean([h.bytes for h in heads])) / 1e3, n=steps)
    if heads[0].mass:
        yield row("mass", float(np.mean([h.mass for h in heads])), n=steps)
    yield row("rel. L2", float(np.mean([h.error for h in heads])), n=steps)
    select, attend = (np.concatenate([getattr(h, part) for h in heads]) * 1e3 for part in ("select", "attend"))
    for part, times in (("select ms", select), ("attend ms", attend), ("ms", select + attend)):
        yield row(part, float(np.median(times)), n=len(times))
        yield row(f"{part} p95", float(np.quantile(times, 0.95)), n=len(times))
    yield row("build s", float(np.mean([h.build for h in heads])), n=len(heads))
    yield row("index %", 100 * float(np.mean([h.index for h in heads])), n=len(heads))


def by_kind(heads: list[Measured]) -> dict[str, tuple[float, None, None, int]]:
    """Mean recall by where the queries come from, and the number of searches; nothing where that is one place."""
    pairs = [(kind, float(values.mean())) for h in heads for kind, values in zip(h.kinds, h.recall)]
    found = {kind: [value for other, value in pairs if other == kind] for kind in dict.fromkeys(h for h, _ in pairs)}
    means = {kind: (float(np.mean(values)), None, None, len(values)) for kind, values in found.items()}
    return means if len(means) > 1 else {}


def by_query_head(heads: list[Measured]) -> np.ndarray:
    """Mean recall of each query head."""
    return np.concatenate([np.mean(h.recall, axis=0) for h in heads])


def at_equal_recall(found: Sequence[Row], plan: Plan) -> Iterator[Row]:
    """Of each method that was swept, the setting with the fastest search among those of recall .95 or more."""
    values: dict[tuple[str, str], dict[str, float | None]] = {}
    for row in found:
        values.setdefault((row.data, row.method), {})[row.metric] = row.value
    best: dict[tuple[str, str], tuple[float, str]] = {}
    for (data, method), metrics in values.items():
        recall, select = metrics.get(f"recall@{plan.k}"), metrics.get("select ms")
        if recall is not None and select is not None and recall >= ENOUGH and " + " not in method:
            key = (data, method.split(" ")[0])
            best[key] = min(best.get(key, (select, method)), (select, method))
    chosen = {(data, method) for (data, _), (_, method) in best.items()}
    for row in found:
        if (row.data, row.method) in chosen:
            place = f"fastest at recall@{plan.k} >= {ENOUGH}: {row.data}"
            yield Row(**{**vars(row), "data": place})
