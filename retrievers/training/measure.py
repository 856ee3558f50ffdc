"""How well trained weights find what answers, beside the encoder they were trained for: the table of their card."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fovea.rag.errors import ConfigError
from fovea.rag.retrieval import Refiner, Retriever
from fovea.rag.settings import Settings
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Hit
from fovea.retrievers.dense import DenseRetriever

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection, Judged

KEPT, READ = 10, 50
"""Hits that are judged, and hits that a re-ranker is given."""


def ranked(component: Settings, collection: Collection, encoder: Encoder) -> list[list[Hit]]:
    """Ten hits for each question: of a retriever its own, of a refiner those of dense retrieval in its order.

    Raises ConfigError for another kind, whose recipe says by `ranked` how it is measured.
    """
    corpus = MemoryCorpus(collection.documents, collection.chunks, encoder)
    corpus.prepare([q.query.text for q in collection.questions])
    if isinstance(component, Retriever):
        return [component.search(q.query, KEPT, corpus) for q in collection.questions]
    if isinstance(component, Refiner):
        dense = DenseRetriever()
        given = ((q.query, dense.search(q.query, READ, corpus)) for q in collection.questions)
        return [component.refine(query, hits, corpus)[:KEPT] for query, hits in given]
    what = f"nobody knows how to measure {component.name!r}, of the kind {component.kind}"
    raise ConfigError(what, fix="say so by `ranked` in its recipe")


def scores(found: Iterable[Sequence[Hit]], questions: Sequence[Judged]) -> dict[str, float]:
    """Means over questions: R@1 and R@5 (the share of what answers that is found), MRR@10.

    `fovea.pipelines.evaluation.ranking_metrics`, which is a floor above, has the whole family; tests hold the two
    equal.
    """
    rows = []
    for hits, question in zip(found, questions):
        right = np.array([hit.chunk.id in question.relevant for hit in hits[:KEPT]], float)
        first = np.flatnonzero(right)
        recalls = [right[:k].sum() / len(question.relevant) for k in (1, 5)]
        rows.append([*recalls, 1 / (first[0] + 1) if len(first) else 0.0])
    return dict(zip(("R@1", "R@5", "MRR@10"), np.mean(rows, axis=0).tolist()))
