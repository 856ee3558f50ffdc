"""Calibrated fusion: each list in a unit in which "far above chance" means the same, so that a sure list outvotes one
that guesses. No labels are needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import PositiveFloat

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Fuser
from fovea.rag.types import Hit, Query
from fovea.retrievers.joined import best, join
from fovea.retrievers.scales import Scale, Weights, is_similarity, last_scores, weighted_sum, weights_of


class CalibratedFuser(Fuser, name="calibrated"):
    """`sum over lists of w (s - last) / unit`, with `last` the score of a list's end and a unit by kind of score.

    A similarity (`Retriever.similarity`) is counted in standard deviations of the inner products of the corpus's own
    chunks (`corpus.spread`), so encoders that crowd all texts together are read as finely as others; it is not
    stretched to the list's own best, so a question that nothing answers well in meaning leaves the choice to the
    words. Any other score is counted in shares of the list's best, which counts as `worth` such deviations.
    """

    worth: PositiveFloat = 5.0
    """What the best hit of any other list is worth, in standard deviations of similarity."""
    weights: Weights = {}
    """Weight by retriever: 0 leaves a list out; without weights all count alike."""

    def fuse(self, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first, scores in standard deviations; raises ConfigError for weights that do not fit
        the lists. O(hits log hits).
        """
        weights = weights_of(lists, self.weights, self.name)
        lists = {name: hits for name, hits in lists.items() if weights[name] > 0}
        lasts = last_scores(lists, is_similarity)
        scales = {name: Scale(lasts[name], self._unit(name, hits, corpus)) for name, hits in lists.items()}
        return best(weighted_sum(join(lists), scales, weights), k, "calibrated")

    def _unit(self, name: str, hits: Sequence[Hit], corpus: Corpus) -> float:
        if is_similarity(name):
            return corpus.spread
        return max((abs(h.score) for h in hits), default=1.0) / self.worth or 1.0
