"""SitEmb, the question's side: the vector of a question for chunks that the situator `sitemb` has situated.

    q' = unit(q + W q)              W (dim, dim), learned together with the situator's weights, in the same file
    q' = unit(q + S(q))             with `model`, the situated model S in place of the weights

(Wu et al., "SitEmb-v1.5: Improved Context-Aware Dense Retrieval for Semantic Association and Long Story Comprehension",
2025.) A pipeline whose chunks are not situated by the same weights or model is refused; a corpus made by hand does not
say how its vectors were made, and is searched as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.placed import NameOrPath
from fovea.rag.requirements import Requirement, model
from fovea.rag.types import Query
from fovea.rag.windows import scaled
from fovea.retrievers.query_map import QueryMapRetriever
from fovea.retrievers.situators.sitemb import check_same_length

if TYPE_CHECKING:
    import numpy as np


class SitEmbRetriever(QueryMapRetriever, name="sitemb"):
    """The chunks nearest to the mapped vector of the question. O(dim^2) beside the search; with `model`, a question is
    encoded twice.
    """

    situated_by: ClassVar[str] = "sitemb"

    weights: NameOrPath = "sitemb"
    """The name of shipped weights, or the path of one's own; unused with `model`."""
    model: NameOrPath = ""
    """The situated model of the situator, in place of the weights."""

    @cached_property
    def situated(self) -> SentenceTransformerEncoder:
        """The situated model."""
        return SentenceTransformerEncoder(model=self.model)

    def content(self) -> dict[str, Any]:
        """The content of the weights or of the model in their place, and of the retriever before this one."""
        if not self.model:
            return super().content()
        before = {"after": self.after.fingerprint} if self.after else {}
        return {"weights": "", "model": self.situated.fingerprint, **before}

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights, or the model in their place, go with the encoder."""
        if self.model:
            check_same_length(self.situated, encoder, where=f"retrieve {self.name}")
        else:
            super().fit(encoder)

    def reads(self) -> Iterator[Requirement]:
        """What reads the weights, or the model in their place."""
        return iter([model(self.model)]) if self.model else super().reads()

    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """The vector searched for, float32 `(dim,)`; where the sum has no direction, the question's own.

        Raises ConfigError for another encoder than that of the weights, or one whose vectors are of another length than
        the model's; ModelError for weights or a model that cannot be had.
        """
        if not self.model:
            return super().vector(query, corpus)
        self.fit(corpus.encoder)
        start = self.start(query, corpus)
        (both,) = scaled(start[None] + self.situated.encode([query.text], "query"))
        return both if both.any() else start
