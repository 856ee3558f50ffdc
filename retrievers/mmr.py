"""Maximal marginal relevance: passages that answer, and that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query
from fovea.retrievers.vectors import vectors_of

if TYPE_CHECKING:
    import numpy as np


class MaximalMarginalRelevance(Refiner, name="mmr"):
    """Takes, one by one, the hit of highest `balance * relevance - (1 - balance) * nearest taken`, where the last term
    is the highest inner product with a hit already taken, at least 0 (Carbonell and Goldstein, SIGIR 1998).
    """

    hides: ClassVar[frozenset[str]] = frozenset({"probabilities"})

    keep: PositiveInt = 10
    """How many hits are taken."""
    balance: Annotated[float, Field(ge=0, le=1)] = 0.7
    """1 looks at relevance alone, 0 at difference alone."""
    relevance: Literal["score", "vector"] = "score"
    """`score`: the hits' scores, stretched to `[0, 1]`, so that fusion and re-ranking count; `vector`: the inner
    product with the question, as in the paper."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """At most `keep` hits in the order taken; the score, which never rises, is the marginal relevance.

        O(hits * keep) inner products of stored vectors.
        """
        if not hits:
            return []
        vectors = vectors_of(hits, corpus)
        gain = self.balance * self._relevance(query, hits, vectors, corpus)
        taken = self._take(gain, vectors)
        stage, chosen = trace.current(), {at for at, _ in taken}
        for i, hit in enumerate(hits):
            if i not in chosen:
                stage.drop(hit, f"not among the {self.keep} of highest marginal relevance")
        return [hits[at].scored("mmr", value) for at, value in taken]

    def _take(self, gain: np.ndarray, vectors: np.ndarray) -> list[tuple[int, float]]:
        import numpy as np

        penalty = np.zeros(len(gain))
        taken: list[tuple[int, float]] = []
        value = gain.astype(np.float64)
        for _ in range(min(self.keep, len(gain))):
            at = int(value.argmax())
            taken.append((at, float(value[at])))
            penalty = np.maximum(penalty, vectors @ vectors[at])
            value = gain - (1 - self.balance) * penalty
            value[[i for i, _ in taken]] = -np.inf
        return taken

    def _relevance(self, query: Query, hits: Sequence[Hit], vectors: np.ndarray, corpus: Corpus) -> np.ndarray:
        import numpy as np

        if self.relevance == "vector":
            return vectors @ corpus.embed(query.text)
        scores = np.array([hit.score for hit in hits])
        return (scores - scores.min()) / (np.ptp(scores) or 1.0)
