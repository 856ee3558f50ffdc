"""Weights of adaptive fusion by coordinate ascent on nDCG@10 itself (Metzler and Croft, 2007, "Linear feature-based
models for information retrieval"): one weight after the other is moved to where the mean is highest.

asked = [asked_of(lists, query, corpus, gold) for ...]
weights = ascend(asked)          # {"meaning": ..., "flat": ..., "words": ..., "coverage": ...}: settings of `adaptive`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np

from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError
from fovea.rag.types import Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser

NAMES = ("meaning", "flat", "words", "coverage")
FACTORS = (0.5, 0.7, 0.85, 1.2, 1.4, 2.0)
"""What a weight is multiplied by to try."""
ROUNDS, LEAST, DEPTH = 7, 1e-5, 10


class Asked(NamedTuple):
    """A question: what `AdaptiveFuser.features` gives for each chunk `(chunks, 4)`, whether the chunk answers, and how
    many chunks of the corpus do.
    """

    rows: np.ndarray
    relevant: np.ndarray
    answers: int


def asked_of(lists: Mapping[str, Sequence[Hit]], query: Query, corpus: Corpus, gold: AbstractSet[str]) -> Asked:
    """A question whose relevant chunk ids are `gold`. Chunks are in the order in which `fuse` breaks ties."""
    found = AdaptiveFuser().features(lists, query, corpus)
    found.sort(key=lambda pair: (min(pair[0].ranks.values()), pair[0].chunk.document_id, pair[0].chunk.start))
    rows = np.array([row for _, row in found]).reshape(-1, len(NAMES))
    return Asked(rows, np.array([one.chunk.id in gold for one, _ in found], bool), len(gold))


def ascend(asked: Sequence[Asked], groups: Sequence[str] | None = None) -> dict[str, float]:
    """The settings of `AdaptiveFuser` of highest mean nDCG@10, from weights of 1 on; where `groups` names the set of
    each question, sets count alike. Deterministic. O(questions * chunks) for each of at most 168 tries.

    Raises ConfigError where no question has an answer among its chunks.
    """
    if not any(one.relevant.any() for one in asked):
        raise ConfigError("no question has an answer among what was retrieved: nothing can be learnt")
    packed, share = _packed(asked), _shares(groups or [""] * len(asked))
    weights = np.ones(len(NAMES))
    best = float(share @ _ndcg(packed, weights))
    for _ in range(ROUNDS):
        before = best
        for place in range(len(NAMES)):
            for value in [weights[place] * factor for factor in FACTORS]:
                tried = weights.copy()
                tried[place] = value
                if (got := float(share @ _ndcg(packed, tried))) > best + LEAST:
                    best, weights = got, tried
        if best == before:
            break
    return {name: round(float(value), 3) for name, value in zip(NAMES, weights)}


def ndcg(ranking: Sequence[str], relevant: AbstractSet[str]) -> float:
    """Normalised discounted cumulative gain of the first ten, with binary gains (Järvelin and Kekäläinen, 2002)."""
    right = np.array([found in relevant for found in ranking[:DEPTH]], float)
    return float(right @ _discounts()[: len(right)] / _discounts()[: len(relevant)].sum())


def ndcg_of(asked: Sequence[Asked], weights: Mapping[str, float]) -> np.ndarray:
    """nDCG@10 of each question with these settings `(questions,)`, gains 0 or 1."""
    return _ndcg(_packed(asked), np.array([weights[name] for name in NAMES]))


class _Packed(NamedTuple):
    rows: np.ndarray
    relevant: np.ndarray
    lacking: np.ndarray
    ideal: np.ndarray


def _packed(asked: Sequence[Asked]) -> _Packed:
    longest = max(DEPTH, *(len(one.rows) for one in asked))
    shape = len(asked), longest
    packed = _Packed(np.zeros((*shape, len(NAMES))), np.zeros(shape), np.full(shape, -np.inf), np.zeros(len(asked)))
    for i, one in enumerate(asked):
        n = len(one.rows)
        packed.rows[i, :n], packed.relevant[i, :n], packed.lacking[i, :n] = one.rows, one.relevant, 0.0
        packed.ideal[i] = _discounts()[: one.answers].sum() or 1.0
    return packed


def _ndcg(packed: _Packed, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(-(packed.rows @ weights + packed.lacking), axis=1, kind="stable")[:, :DEPTH]
    return np.take_along_axis(packed.relevant, order, 1) @ _discounts() / packed.ideal


def _discounts() -> np.ndarray:
    return 1 / np.log2(np.arange(2, DEPTH + 2))


def _shares(groups: Sequence[str]) -> np.ndarray:
    """What each question counts, `(questions,)`, sum 1: groups alike, and in a group all questions alike."""
    size = {name: groups.count(name) for name in groups}
    return np.array([1 / size[name] / len(size) for name in groups])
