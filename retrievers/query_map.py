"""Query map: questions learn to lie where the passages that answer them lie, by one matrix.

    q' = unit(q + W q)                  W (dim, dim), zero before training: then q' = q

Passages keep their vectors. It is the simplest thing that can be learned on a domain's questions, and the control that
any cleverer method has to beat: most of what a learned retriever gains on questions like those it was trained on, this
gains too (an adapter in the sense of the linear ones that are put on closed embedding models).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.rag.corpus import Corpus
from fovea.rag.placed import NameOrPath
from fovea.rag.types import Query
from fovea.retrievers.learned import LearnedRetriever

if TYPE_CHECKING:
    import numpy as np


class QueryMapRetriever(LearnedRetriever, name="query_map"):
    """The chunks nearest to the mapped vector of the question. O(dim^2) beside the search."""

    weights: NameOrPath = "query_map"
    """The name of shipped weights, or the path of one's own."""

    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """The mapped vector, float32 `(dim,)`; where the map gives none, the question's own.

        Raises ConfigError for another encoder than that of the weights, ModelError for weights that cannot be had.
        """
        import numpy as np

        arrays, start = self.for_corpus(corpus).arrays, self.start(query, corpus)
        mapped = start + arrays["map"] @ start
        length = float(np.linalg.norm(mapped))
        return (mapped / length).astype(np.float32) if length > 1e-6 else start
