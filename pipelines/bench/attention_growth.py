"""How a search grows with the text, and what becomes of an index whose text goes on.

Growth: the first rows of the dump, so the same queries and settings over ever more keys.
Drift: an index over all but the last keys, into which those are inserted 1,024 at a time, beside one built over all of
them; the queries are those that came after all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from fovea.attention_retrieval.capture.dump import Dump
from fovea.attention_retrieval.index.engine import Engine, Index, recall
from fovea.pipelines.bench.attention import label, rows
from fovea.pipelines.bench.attention_heads import Head, Plan, heads
from fovea.pipelines.bench.attention_measure import threads, warm
from fovea.pipelines.bench.attention_methods import Method
from fovea.pipelines.evaluation.measurements import Row, interval
from fovea.rag.errors import ConfigError
from fovea.rag.progress import bar

BATCH = 1024


def growth(
    dump: Dump, methods: Sequence[Method], plan: Plan, lengths: Sequence[int], missing: Callable[[str], None]
) -> Iterator[Row]:
    """Recall, what was read and the time of a search at several lengths, and the time against the shortest's.

    Raises ConfigError for a length that the dump does not have.
    """
    if odd := [n for n in lengths if n > dump.facts.tokens]:
        what = f"the dump has {dump.facts.tokens:,} tokens, not {odd[0]:,}"
        raise ConfigError(what, where="--growth", fix="fovea capture with more --tokens, in --blocks if need be")
    first: dict[str, float] = {}
    wanted = (f"recall@{plan.k}", "scanned %", "kB", "select ms", "ms", "build s")
    for length in sorted(lengths):
        for row in rows(dump, methods, replace(plan, tokens=length), missing=missing):
            if row.metric in wanted:
                yield replace(row, data=f"growth: {row.data}")
            if row.metric == "ms" and row.value is not None:
                times = row.value / first.setdefault(row.method, row.value)
                yield replace(row, data=f"growth: {row.data}", metric="times", value=times)


def drift(dump: Dump, methods: Sequence[Method], plan: Plan, inserted: int) -> Iterator[Row]:
    """Recall after the insertion of the last keys, that of an index built over all, and milliseconds a key inserted."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray, float]]] = {}
    engines = {m.name: m.engine for m in methods if m.engine is not None}
    with threads(plan.threads), bar("drift", None) as progress:
        for n, head in enumerate(heads(dump, plan)):
            if head.stop - inserted < head.start + plan.k:
                what = f"{head.stop - head.start:,} keys are too few to insert {inserted:,} of them"
                raise ConfigError(what, where="--drift")
            if n == 0:
                warm(head, methods, plan)
            for name, engine in engines.items():
                found.setdefault(name, []).append(_one(head, engine, plan, inserted))
                progress.advance()
    data = f"{inserted:,} keys inserted: {label(dump, plan)}"
    for name, each in found.items():
        settings = {**engines[name].settings(), "k": plan.k, "threads": plan.threads}
        after, whole = (np.concatenate([one[part] for one in each]) for part in (0, 1))
        for metric, values in (("inserted", after), ("built", whole), ("inserted - built", after - whole)):
            yield Row("attention", data, name, metric, *interval(values), len(values), None, settings)
        yield Row("attention", data, name, "p5 head", float(np.quantile(after, 0.05)), n=len(after), settings=settings)
        millis = float(np.median([one[2] for one in each])) * 1e3
        yield Row("attention", data, name, "ms a key", millis, n=len(each), settings=settings)


def _one(head: Head, engine: Engine, plan: Plan, inserted: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Of one head: recall by query head after the insertion and after a build over all, and seconds a key."""
    whole = engine.build(head.dynamic(), head.queries(), seed=plan.seed)
    early = head.stop - inserted
    grown = engine.build(head.dynamic(early), head.queries(early), seed=plan.seed)
    began = time.perf_counter()
    for stop in range(early + BATCH, head.stop + BATCH, BATCH):
        grown.insert(min(stop, head.stop))
    seconds = (time.perf_counter() - began) / inserted
    return _recall(head, grown, plan.k), _recall(head, whole, plan.k), seconds


def _recall(head: Head, index: Index, k: int) -> np.ndarray:
    return np.mean([recall(index.search(step.q, k).ids, step.ids) for step in head.steps], axis=0)
