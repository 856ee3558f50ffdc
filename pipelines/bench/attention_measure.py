"""Every method over one head, step by step in turn, so that what else the machine does falls on all alike.

A step's methods run one after the other in an order that rotates. Before each, the processor's near caches are filled
with something else, as in decoding, where a head's turn comes after those of all other heads and layers. What was found
is judged once; times are of every round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.attention_retrieval.index.engine import recall
from fovea.attention_retrieval.partial import Partial
from fovea.pipelines.bench.attention_answers import Answer, Ready
from fovea.pipelines.bench.attention_heads import Head, Plan, Step
from fovea.pipelines.bench.attention_methods import Method
from fovea.rag.errors import FoveaError

ELSE = np.zeros(4 << 20, np.float32)
"""16 MB, more than a core's own cache."""


@dataclass
class Measured:
    """One method over one head: (steps, group) for what is of a query, (steps,) for what is of a search."""

    recall: list[np.ndarray] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    """Where the queries come from whose recall that is."""
    mass: list[np.ndarray] = field(default_factory=list)
    error: list[np.ndarray] = field(default_factory=list)
    scanned: list[float] = field(default_factory=list)
    """Share of the dynamic keys."""
    bytes: list[int] = field(default_factory=list)
    select: list[float] = field(default_factory=list)
    attend: list[float] = field(default_factory=list)
    build: float = 0.0
    index: float = 0.0
    """Bytes of the index, as a share of the dynamic keys' own."""

    def judge(self, head: Head, step: Step, answer: Answer) -> None:
        """Take in what a method answered."""
        if answer.ids is not None:
            self.recall.append(recall(answer.ids, step.ids))
            self.kinds.append(step.kind)
        if answer.plain:
            self.mass.append(np.exp(np.minimum(answer.whole.lse - step.exact.lse, 0)))
        self.error.append(distance(answer.whole, step.exact))
        self.scanned.append(answer.scanned / (head.stop - head.start))
        self.bytes.append(answer.bytes)


def distance(found: Partial, exact: Partial) -> np.ndarray:
    """Relative L2 of the outputs, (group,)."""
    size = np.linalg.norm(exact.out, axis=1)
    gap: np.ndarray = np.linalg.norm(found.out - exact.out, axis=1) / np.where(size > 0, size, 1)
    return gap


def measured(
    head: Head, methods: Sequence[Method], plan: Plan, missing: Callable[[str, FoveaError], object]
) -> dict[str, Measured]:
    """All rows of one head, by name. `missing` is told of a method that cannot run."""
    ready: dict[str, Ready] = {}
    found: dict[str, Measured] = {}
    for method in methods:
        try:
            made = method.build(head, plan.seed)
        except FoveaError as error:
            missing(method.name, error)
            continue
        for name, (one, seconds) in made.items():
            ready[name] = one
            found[name] = Measured(build=seconds, index=one.nbytes / head.key_bytes)
    for name, one in ready.items():
        one.answer(head.steps[0], plan.k)  # what is compiled or allocated once is not timed
        for step in head.steps:
            found[name].judge(head, step, one.answer(step, plan.k))
    names = list(ready)
    for _ in range(plan.repeat):
        for n, step in enumerate(head.steps):
            for name in names[n % len(names) :] + names[: n % len(names)]:
                ELSE.sum()
                answer = ready[name].answer(step, plan.k)
                found[name].select.append(answer.select)
                found[name].attend.append(answer.attend)
    return found


def warm(head: Head, methods: Sequence[Method], plan: Plan) -> None:
    """Have everything compiled before a build is timed: one build over a few keys each."""
    few = Head(**{**vars(head), "stop": min(head.stop, head.start + max(2000, plan.k)), "steps": head.steps[:1]})
    few.train, few.train_rows = few.train[:500], few.train_rows[:500]
    for method in methods:
        try:
            made = method.build(few, plan.seed)
        except FoveaError:
            continue  # it is told when it is measured
        for one, _ in made.values():
            one.answer(few.steps[0], plan.k)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """torch, faiss and numba on so many threads; a search of ours runs on one."""
    pairs = _threads_of()
    before = [get() for get, _ in pairs]
    try:
        for _, put in pairs:
            put(count)
        yield
    finally:
        for (_, put), was in zip(pairs, before):
            put(was)


def _threads_of() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """How each library says and is told its number of threads; some share one."""
    import numba
    import torch

    most = int(numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    found: list[tuple[Callable[[], int], Callable[[int], Any]]] = [
        (torch.get_num_threads, torch.set_num_threads),
        (numba.get_num_threads, lambda n: numba.set_num_threads(min(n, most))),
    ]
    try:
        import faiss
    except ImportError:
        return found
    return [(faiss.omp_get_max_threads, faiss.omp_set_num_threads), *found]
