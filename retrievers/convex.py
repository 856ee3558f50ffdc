"""Convex combination: a weighted mean of scores, each scaled to `[0, 1]` by what its retriever can say at least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Fuser
from fovea.rag.types import Hit, Query
from fovea.retrievers.joined import best, join
from fovea.retrievers.scales import Scale, Weights, is_similarity, last_scores, retriever_of, weighted_sum, weights_of

SMALLEST = 1e-9
"""Stands for the range of a list whose scores are all the lowest possible."""


class ConvexFuser(Fuser, name="convex"):
    """`sum of w (s - floor) / (top - floor)`, weights scaled to sum 1: the theoretical min-max combination (TM2C2) of
    Bruch, Gai and Ingber (2022, "An Analysis of Fusion Functions for Hybrid Retrieval").

    `top` is the best score of the list at hand, `floor` the lowest that the retriever could give. A chunk that is
    not in a full list counts as its last one does. Good weights depend on the data.
    """

    weights: Weights = {}
    """Weight by retriever, such as `{dense: 0.6, bm25: 0.4}`: 0 leaves a list out; without weights all count alike."""
    floors: dict[str, float] = {}
    """The lowest possible score by retriever, where it is neither -1, as of similarities, nor 0, as of any other."""

    def fuse(self, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> list[Hit]:
        """At most `k` hits with scores in `[0, 1]`, best first; raises ConfigError for weights that do not fit the
        lists.
        """
        return self.combine(lists, k)

    def combine(self, lists: Mapping[str, Sequence[Hit]], k: int) -> list[Hit]:
        """What `fuse` does, which needs neither the question nor the corpus. O(hits log hits)."""
        weights = weights_of(lists, self.weights, self.name)
        total = sum(weights.values())
        lists = {name: hits for name, hits in lists.items() if weights[name] > 0 and hits}
        lasts, scales, shares, outside = last_scores(lists, lambda name: self._floor(name) < 0), {}, {}, 0.0
        for name in sorted(lists):
            floor = self._floor(name)
            top = max(h.score for h in lists[name])
            scales[name] = Scale(lasts[name], max(top - floor, SMALLEST))
            shares[name] = weights[name] / total
            outside += shares[name] * (lasts[name] - floor) / scales[name].unit
        found = weighted_sum(join(lists), scales, shares)
        return best(((score + outside, one) for score, one in found), k, "convex")

    def _floor(self, name: str) -> float:
        return self.floors.get(retriever_of(name), -1.0 if is_similarity(name) else 0.0)
