"""Reciprocal rank fusion: places count, scores do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import PositiveFloat

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Fuser
from fovea.rag.types import Hit, Query
from fovea.retrievers.joined import best, join


class ReciprocalRankFuser(Fuser, name="rrf"):
    """`sum over lists of 1 / (constant + rank)`, rank from 1 (Cormack, Clarke and Büttcher, SIGIR 2009).

    Needs nothing of the scores, and cannot tell a list that is sure from one that guesses.
    """

    constant: PositiveFloat = 60.0
    """The larger, the less the first places outweigh the later ones."""

    def fuse(self, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first. O(hits log hits)."""
        found = join(lists)
        return best(((sum(1 / (self.constant + rank) for rank in one.ranks.values()), one) for one in found), k, "rrf")
