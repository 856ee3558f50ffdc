"""What every fuser must keep to, for ours and for anybody's.

check_fuser(MyFuser())
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Fuser
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.types import Hit, Query

QUESTIONS = ("How hot is green tea?", "moon oceans ships", "qqq")


def check_fuser(fuser: Fuser, lists: Mapping[str, Sequence[Hit]] | None = None, corpus: Corpus | None = None) -> None:
    """Every law below: over the lists given, or over ones made from a small corpus, some of them empty."""
    corpus = corpus or sample_corpus()
    for text in QUESTIONS:
        query = Query(text)
        for one in [lists] if lists is not None else sample_lists(query, corpus):
            for k in (1, 4, 1000):
                check_fused(fuser, one, k, query, corpus)


def sample_lists(query: Query, corpus: Corpus) -> list[dict[str, list[Hit]]]:
    """Lists of `dense` and `bm25`: both, overlapping in part, one empty, both empty, and the same retriever twice."""
    dense = [h.scored("dense", h.score) for h in corpus.nearest(corpus.embed(query.text), 8)]
    bm25 = [h.scored("bm25", h.score) for h in corpus.match(query.text, 8)]
    return [
        {"dense": dense, "bm25": bm25},
        {"dense": dense[:3], "bm25": bm25[2:]},
        {"dense": dense, "bm25": []},
        {"dense": [], "bm25": []},
        {"dense": dense[:1], "bm25": bm25[:1]},
        {"dense": dense, "bm25": bm25, "bm25#2": bm25[::2]},
    ]


def check_fused(fuser: Fuser, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> None:
    """At most `k`, each chunk once, all from the lists, best first, whatever the order of the lists; nothing that was
    said of a hit is lost, and the lists themselves are left as they were.
    """
    before = {name: list(hits) for name, hits in lists.items()}
    fused = fuser.fuse(lists, k, query, corpus)
    given = {hit.chunk.id for hits in lists.values() for hit in hits}
    ids = [hit.chunk.id for hit in fused]
    assert isinstance(fused, list)
    assert len(ids) == len(set(ids)) == min(k, len(given)), "each chunk of the lists once, at most k"
    assert set(ids) <= given
    scores = [hit.score for hit in fused]
    assert all(type(s) is float and math.isfinite(s) for s in scores), scores
    assert scores == sorted(scores, reverse=True), "best first"
    for hit in fused:
        assert hit.scores.get(fuser.name) == hit.score
        for name, hits in lists.items():
            said = [h for h in hits if h.chunk.id == hit.chunk.id]
            assert all(hit.scores.get(name) == h.score for h in said), f"what {name} said is kept"
    for order in permutations(lists):
        assert fuser.fuse({name: lists[name] for name in order}, k, query, corpus) == fused, "any order of lists"
    assert {name: list(hits) for name, hits in lists.items()} == before
    check_prefix(fuser, lists, k, query, corpus)


def check_prefix(fuser: Fuser, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> None:
    """Asking for more changes nothing about the first ones."""
    assert fuser.fuse(lists, k + 7, query, corpus)[:k] == fuser.fuse(lists, k, query, corpus)
