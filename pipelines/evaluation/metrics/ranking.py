"""Retrieval metrics of ir-measures (trec_eval), with any cut in the name.

Where a question grades documents (`relevant`), the ranking is that of documents, each at the place of its first
passage. Else it is that of passages against gold spans. A passage *finds* a span if it covers at least half of it or
lies inside it. Then, for spans G,

    P@k, MRR, Success@k   a place is relevant if its passage finds any span
    R@k                   spans found by the first k passages / |G|
    nDCG@k, MAP           an item is what one passage is first to find: its grade is how many spans that is, and each
                          span that no passage finds is an item of grade 1

So whoever cuts the documents, a ranking that finds every span at its first places has nDCG 1, and a passage that only
repeats what was found before gains nothing there. Gains are linear: `nDCG@k = sum_{i <= k} g_i / log2(i + 1)`, divided
by the same sum of the items in falling order. `MAP` is 1 / items * sum over relevant places of the precision there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from fovea.pipelines.evaluation.metrics.metric import metric_of
from fovea.rag.errors import require

if TYPE_CHECKING:
    from fovea.pipelines.evaluation.case import Case

HALF = 0.5
"""The share of a gold span that a passage covers to have found it."""


@metric_of("nDCG", gold="ranking", cuts=("k",))
def ndcg(case: Case, cut: int | None) -> float:
    """Normalised discounted cumulative gain of the first k places, linear gains."""
    return _measured(f"nDCG@{cut}", *_first_found(case))


@metric_of("R", gold="ranking", cuts=("k",))
def recall(case: Case, cut: int | None) -> float:
    """The share of relevant documents, or of gold spans, that the first k places find."""
    if case.question.relevant:
        return _measured(f"R@{cut}", *_first_found(case))
    return float(_found(case)[:cut].any(axis=0).mean())


@metric_of("MRR", gold="ranking", cuts=("", "k"))
def reciprocal_rank(case: Case, cut: int | None) -> float:
    """1 / the first relevant place, 0 where there is none (of the first k)."""
    return _measured(f"RR@{cut}" if cut else "RR", *_relevant(case))


@metric_of("MAP", gold="ranking", cuts=("", "k"))
def average_precision(case: Case, cut: int | None) -> float:
    """Average precision: precision at each relevant place, summed, over all that is relevant."""
    return _measured(f"AP@{cut}" if cut else "AP", *_first_found(case))


@metric_of("P", gold="ranking", cuts=("k",))
def precision(case: Case, cut: int | None) -> float:
    """The share of the first k places that are relevant; k also where fewer came back."""
    return _measured(f"P@{cut}", *_relevant(case))


@metric_of("Success", gold="ranking", cuts=("k",))
def success(case: Case, cut: int | None) -> float:
    """1 if any of the first k places is relevant, else 0."""
    return _measured(f"Success@{cut}", *_relevant(case))


def finds(passages: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Which passage finds which gold span: bool `(passages, spans)`."""
    starts = np.maximum(passages[:, None, 0], gold[None, :, 0])
    ends = np.minimum(passages[:, None, 1], gold[None, :, 1])
    shared: np.ndarray = np.maximum(ends - starts, 0)
    length = (passages[:, 1] - passages[:, 0])[:, None]
    return (shared > 0) & ((shared >= HALF * (gold[:, 1] - gold[:, 0])) | (shared == length))


def _found(case: Case) -> np.ndarray:
    """Which passage finds which gold span, at any of its places: bool `(passages, spans)`."""
    return case.reached(finds(case.passages, case.gold))


def _documents(case: Case) -> list[str]:
    return list(dict.fromkeys(hit.chunk.document_id for hit in case.hits))


def _relevant(case: Case) -> tuple[Sequence[str], Mapping[str, int]]:
    """The ranking, and what of it is relevant place by place."""
    if case.question.relevant:
        return _documents(case), case.question.relevant
    found: np.ndarray = np.any(_found(case), axis=1)
    ranked = [f"place {n}" for n in range(len(found))]
    # What is relevant and did not come back changes none of the measures that go by places; there must be something.
    return ranked, {key: 1 for key, hit in zip(ranked, found) if hit} or {"none": 1}


def _first_found(case: Case) -> tuple[Sequence[str], Mapping[str, int]]:
    """The ranking, and the items: what each passage is first to find, and what none finds."""
    if case.question.relevant:
        return _documents(case), case.question.relevant
    found = _found(case)
    new: np.ndarray = found & (np.cumsum(found, axis=0) == 1)
    ranked = [f"place {n}" for n in range(len(found))]
    items = {key: int(count) for key, count in zip(ranked, new.sum(axis=1)) if count}
    lost = int((~found.any(axis=0)).sum())
    return ranked, {**items, **{f"lost {n}": 1 for n in range(lost)}}


def _measured(measure: str, ranked: Sequence[str], grades: Mapping[str, int]) -> float:
    """One value of ir-measures; ids are handed over with scores that fall by place."""
    ir, parsed = _library(measure)
    judged = [ir.Qrel("q", key, grade) for key, grade in grades.items()]
    run = [ir.ScoredDoc("q", key, -place) for place, key in enumerate(ranked)]
    if not run:
        return 0.0
    [found] = ir.iter_calc([parsed], judged, run)
    return float(found.value)


@lru_cache(maxsize=64)
def _library(measure: str) -> tuple[Any, Any]:
    ir = require("ir_measures", extra="bench", needed_by=f"the metric {measure}")
    return ir, ir.parse_measure(measure)
