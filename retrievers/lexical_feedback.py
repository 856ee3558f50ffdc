"""Lexical feedback: the question's vector moved towards the chunks that hold its words, and then an ordinary search.

With q the question's vector, c_1 .. c_n the chunks of highest BM25 score s_1 >= .. >= s_n, and v_i their vectors,

    f = sum over i of (s_i / s_1)^sharpness v_i, scaled to unit length
    q' = q + weight f, scaled to unit length

A sentence encoder is vague about single words: asked for three rare words of a passage, or for a piece of it, it often
ranks others first, while BM25 is sure. LexSemBridge (Zhan et al., 2025) teaches the vector about words by a learned map
from the vocabulary to the dimensions; here the corpus itself is that map, so nothing is trained, any encoder will do,
and the index stays as it is. One vector is searched for in the end, which a vector store, a filter or a cross-attention
head takes like any other. It is Rocchio's relevance feedback (1971) in vector space (Li et al., 2021, "Pseudo relevance
feedback with deep language models and dense retrievers"), with the feedback taken from words instead of from the
search that is to be mended, and sharpened: where one chunk is far ahead it decides, where many are level their mean
does little harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from fovea.rag.corpus import Corpus
from fovea.rag.types import Query
from fovea.retrievers.query_side import QuerySideRetriever

if TYPE_CHECKING:
    import numpy as np


class LexicalFeedbackRetriever(QuerySideRetriever, name="lexical_feedback"):
    """The chunks nearest to the question's vector after feedback from the chunks that share its words.

    Where `rare` is under 1, what a word adds to the chunks that hold it is remembered until the library changes, so
    that the search for it is done once; a common word would take most of the time, and adds next to nothing.

    Under a filter, feedback comes from matching chunks alone.
    """

    filter_moves_scores: ClassVar[bool] = True

    chunks: PositiveInt = 10
    """How many chunks of highest BM25 score give feedback."""
    sharpness: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 4.0
    """0 lets all of them count alike; the higher, the more the first ones decide."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """How much the feedback counts beside the question; 0 is plain dense retrieval."""

    rare: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of all chunks that may hold a word: a word held by more is passed by, unless no other is there. 1 is
    BM25 over all words, one search together with a `bm25` beside it; .1 takes a third of the time where none is."""

    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """The moved vector `(dim,)`; that of the question where no chunk shares a word with it."""
        import numpy as np

        asked = self.start(query, corpus)
        if not self.weight:
            return asked
        scores, vectors = corpus.matched(query.text, self.chunks, query.where, self.rare)
        if not len(scores):
            return asked
        feedback = (scores / scores[0]) ** self.sharpness @ vectors
        moved = asked + self.weight * feedback / max(float(np.linalg.norm(feedback)), 1e-9)
        length = float(np.linalg.norm(moved))
        return (moved / length).astype(np.float32) if length > 1e-6 else asked
