"""Dense retrieval: the chunks whose vectors are nearest to the question's."""

from __future__ import annotations

from typing import ClassVar

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Hit, Query


class DenseRetriever(Retriever, name="dense"):
    """The chunks of highest inner product with the question, in the encoder's space; the score is that product."""

    similarity: ClassVar[bool] = True

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits in `[-1, 1]`, best first."""
        return [hit.scored("dense", hit.score) for hit in corpus.nearest(corpus.embed(query.text), k, query.where)]
