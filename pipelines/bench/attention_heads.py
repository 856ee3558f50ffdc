"""One kv head of a dump, as a cache holds it, with held-out steps and what exact attention makes of them.

Rows of the text from `sinks` on and without the last `window` are the dynamic set, in which engines search. The others
of the text, and the rows of a step's own run up to it, are the static set, which every method attends to exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.capture.dump import Dump, Layer, as_float
from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import ConfigError


@dataclass(frozen=True)
class Plan:
    """How a dump is measured."""

    k: int = 100
    steps: int = 128
    """Held-out positions per head, evenly spread over those of the dump."""
    sinks: int | None = None
    """None for 128, and 0 for windows of an encoder, which have no sink and no order."""
    window: int | None = None
    """None for 512, and 0 for windows of an encoder."""
    dtype: Dtype = "bf16"
    """How keys and values are stored; what is exact is always the dump's own numbers."""
    tokens: int | None = None
    """The first rows of the text only."""
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    """Kv heads."""
    repeat: int = 3
    """How often each search is timed."""
    threads: int = 1
    seed: int = 0


class Step(NamedTuple):
    """The queries of one kv head's group at one position, and what is exact for them."""

    q: np.ndarray
    """(group, d), times the scaling"""
    behind: tuple[int, int]
    """Static rows besides those of the text: [start, stop)"""
    ids: np.ndarray
    """The k best dynamic rows, (group, k)"""
    exact: Partial
    """Attention over all rows that are seen"""
    kind: str = ""
    """Where the queries come from: continuation, question or decode"""


@dataclass
class Head:
    """Keys and values of a kv head, and the steps to measure."""

    layer: int
    head: int
    keys: Rows
    values: Rows
    tokens: int
    """Rows of the text; behind them lie those of the runs."""
    start: int
    stop: int
    """The dynamic set: [start, stop)"""
    train: np.ndarray
    """(queries, d): what the prefill's group asked, in order, times the scaling"""
    train_rows: np.ndarray
    steps: list[Step] = field(default_factory=list)

    @property
    def label(self) -> str:
        """Such as `l4 h1`."""
        return f"l{self.layer} h{self.head}"

    def dynamic(self, stop: int | None = None) -> Keys:
        """What an engine builds on, or the first part of it."""
        return Keys(self.keys, self.start, self.stop if stop is None else stop)

    def queries(self, stop: int | None = None) -> np.ndarray:
        """What an engine learns from: queries that were made before row `stop`."""
        return self.train if stop is None else self.train[self.train_rows < stop]

    def static(self, step: Step) -> Partial:
        """Exact attention to the static set."""
        spans = [(0, self.start), (self.stop, self.tokens), step.behind]
        return merge(_nothing(step.q, self), *(self.over(step.q, low, high) for low, high in spans if high > low))

    def over(self, q: np.ndarray, low: int, high: int) -> Partial:
        """Exact attention to the rows [low, high), read once for all queries."""
        from fovea.attention_retrieval.kernels.attend import attend_scanned, scan_logits

        logits = scan_logits(self.keys.stored, q, low, high)
        return Partial(*attend_scanned(self.values.stored, low, logits))

    @property
    def key_bytes(self) -> int:
        """Of the dynamic set."""
        return (self.stop - self.start) * self.keys.row_bytes


def _nothing(q: np.ndarray, head: Head) -> Partial:
    return Partial(np.zeros((len(q), head.values.d), np.float32), np.full(len(q), -np.inf, np.float32))


def heads(dump: Dump, plan: Plan) -> Iterator[Head]:
    """Every kv head that the plan names, one at a time. Raises ConfigError for what is not in the dump."""
    facts = dump.facts
    for layer in facts.layers if plan.layers is None else plan.layers:
        data = dump.layer(layer)
        wanted = range(facts.kv_heads) if plan.heads is None else plan.heads
        if odd := [n for n in wanted if not 0 <= n < facts.kv_heads]:
            there = [str(n) for n in range(facts.kv_heads)]
            raise ConfigError(f"kv head {odd[0]} is not in the dump", where="--heads", allowed=there)
        for head in wanted:
            yield one_head(dump, data, layer, head, plan)


def one_head(dump: Dump, data: Layer, layer: int, head: int, plan: Plan) -> Head:
    """A head with its steps; all rows of the dump are stored, of the text only those that are measured."""
    facts = dump.facts
    tokens = min(plan.tokens or facts.tokens, facts.tokens)
    start, stop = limits(dump, plan, tokens)
    if stop - start < plan.k:
        what = f"{tokens:,} tokens leave {max(stop - start, 0):,} keys to search in, and {plan.k} are wanted"
        raise ConfigError(what, where=str(dump.path), fix="a longer text, or a smaller --window, --sinks or -k")
    rows = np.r_[0:tokens, facts.tokens : data.keys.shape[1]]
    keys, values = as_float(data.keys[head][rows]), as_float(data.values[head][rows])
    group = slice(head * facts.group, (head + 1) * facts.group)
    at = dump.train[dump.query_rows[dump.train] < tokens]
    train = data.query(group, at).transpose(1, 0, 2).reshape(-1, facts.d)
    found = Head(
        layer=layer,
        head=head,
        keys=Rows.of(keys, plan.dtype, "channel"),
        values=Rows.of(values, plan.dtype),
        tokens=tokens,
        start=start,
        stop=stop,
        train=np.ascontiguousarray(train),
        train_rows=np.repeat(dump.query_rows[at], facts.group),
    )
    picked = dump.held_out[np.unique(np.linspace(0, len(dump.held_out) - 1, plan.steps).astype(int))]
    asked = np.ascontiguousarray(data.query(group, picked).transpose(1, 0, 2))
    cut = facts.tokens - tokens
    behind = [tuple(row - cut for row in facts.behind(int(row))) for row in dump.query_rows[picked]]
    made = (exact_step(found, keys, values, q, (b[0], b[1]), plan.k) for q, b in zip(asked, behind))
    kinds = (facts.kind(int(row)) for row in dump.query_rows[picked])
    found.steps = [step._replace(kind=kind) for step, kind in zip(made, kinds)]
    return found


def limits(dump: Dump, plan: Plan, tokens: int) -> tuple[int, int]:
    """Where the dynamic set begins and ends in a text of so many tokens."""
    ordered = dump.facts.source != "windows"
    sinks = plan.sinks if plan.sinks is not None else 128 * ordered
    window = plan.window if plan.window is not None else 512 * ordered
    return sinks, tokens - window


def exact_step(
    head: Head, keys: np.ndarray, values: np.ndarray, q: np.ndarray, behind: tuple[int, int], k: int
) -> Step:
    """What is exact for the queries of a step, by NumPy from the dump's own numbers; behind: rows of the run."""
    own = slice(*behind)
    logits = np.concatenate([q @ keys[: head.tokens].T, q @ keys[own].T], axis=1)
    most = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - most)
    total = weights.sum(axis=1, keepdims=True)
    out = weights[:, : head.tokens] @ values[: head.tokens] + weights[:, head.tokens :] @ values[own]
    dynamic = logits[:, head.start : head.stop]
    best = np.argpartition(-dynamic, k - 1, axis=1)[:, :k] + head.start
    lse = (most + np.log(total))[:, 0].astype(np.float32)
    return Step(q, behind, best, Partial((out / total).astype(np.float32), lse))
