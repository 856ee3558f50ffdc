"""Retrievers that change the question's vector and leave the chunks' as they are: any index will do, made once."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from pydantic import field_validator

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Hit, Query

if TYPE_CHECKING:
    import numpy as np


class QuerySideRetriever(Retriever):
    """The chunks nearest to a vector made of the question's; the score is their inner product.

    One may begin where another ends: `{use: query_map, after: {use: lexical_feedback}}` maps the moved vector.
    """

    similarity: ClassVar[bool] = True

    after: Retriever | None = None
    """Another retriever that changes the question's vector, before this one does."""

    @abstractmethod
    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """The vector searched for: float32 `(dim,)`, of unit length."""

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits in `[-1, 1]`, best first; raises what `vector` does."""
        found = corpus.nearest(self.vector(query, corpus), k, query.where)
        return [hit.scored(self.name, hit.score) for hit in found]

    def start(self, query: Query, corpus: Corpus) -> np.ndarray:
        """The vector to change: the question's own, or what `after` makes of it."""
        return self.after.vector(query, corpus) if self.after else corpus.embed(query.text)  # type: ignore[attr-defined]

    @field_validator("after")
    @classmethod
    def _gives_a_vector(cls, after: Retriever | None) -> Retriever | None:
        if after is not None and not isinstance(after, QuerySideRetriever):
            raise ValueError(f"{after.name} does not change the question's vector")
        return after
