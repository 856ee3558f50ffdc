"""A small re-ranker: evidence of meaning, words and numbers, weighed by what was learned from judged questions.

    p(q, c) = sigmoid(w . (x - mean) / scale + b)

with x the evidence for passage c among the passages at hand (`fovea.retrievers.evidence`). Forty numbers do not read a
passage as a cross-encoder does, but they are calibrated, so that rules which add or compare probabilities can follow;
and they are learned in a minute on one's own questions, by `fovea train retriever reranker`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.placed import NameOrPath
from fovea.rag.retrieval import Refiner
from fovea.rag.trained import Trained
from fovea.rag.types import Hit, Query
from fovea.rag.weighted import Weighted
from fovea.retrievers.evidence import among, evidence

if TYPE_CHECKING:
    import numpy as np


class Reranker(Weighted, Refiner, name="reranker"):
    """Gives the first `top_n` hits the probability that they answer and orders them by it; hits below are dropped."""

    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})

    weights: NameOrPath = "reranker"
    """The name of shipped weights, or the path of one's own."""
    top_n: PositiveInt = 20
    """How many hits are read; their sentences are encoded."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The first `top_n` hits by falling probability, equal ones in the order given.

        Raises ConfigError for another encoder than that of the weights, ModelError for weights that cannot be had.
        """
        read, below = list(hits[: self.top_n]), hits[self.top_n :]
        for hit in below:
            trace.current().drop(hit, f"below the first {self.top_n} hits, which alone the re-ranker reads")
        if not read:
            return []
        self.fit(corpus.encoder)
        scores = probabilities(self.trained, evidence(query, read, corpus))
        scored = [hit.scored(self.name, float(score)) for hit, score in zip(read, scores)]
        return sorted(scored, key=lambda hit: -hit.score)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights were trained on evidence of `encoder`."""
        self.trained.check(encoder, where="refine reranker")


def probabilities(trained: Trained, rows: np.ndarray) -> np.ndarray:
    """How likely each passage answers, `(hits,)`, from its evidence `(hits, 13)`."""
    import numpy as np

    a = trained.arrays
    logits = (among(rows) - a["mean"]) / a["scale"] @ a["weight"] + a["bias"]
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
