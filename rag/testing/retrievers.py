"""What every retriever must keep to, for ours and for anybody's.

    check_retriever(MyRetriever())

The corpus is a small exact one in memory, or any other that holds `fovea.rag.testing.corpus.SAMPLES`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.filters import matches, parse
from fovea.rag.retrieval import Retriever
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.types import Hit, Query

QUESTIONS = (
    "How hot is green tea?",
    "the moon the moon THE MOON",
    "绿茶",
    "qqq zzz",
    "🙂 ---",
    'NOT "tea" OR (moon) *',
    "tea" * 400,
)
FILTERS = (
    "year >= 2002",
    "kind == 't'",
    "not exists(kind)",
    "year < 0",
    "year in [2000, 2001] and contains(kind, 't')",
)


def check_retriever(retriever: Retriever, corpus: Corpus | None = None) -> None:
    """Every law below, over questions of all sorts."""
    corpus = corpus or sample_corpus()
    total = len(list(corpus.chunks()))
    for text in QUESTIONS:
        query = Query(text)
        for k in (1, 3, total, total + 50):
            check_hits(hits := retriever.search(query, k, corpus), k, retriever.name, corpus)
            assert retriever.search(query, k, corpus) == hits, "the same question gives the same hits"
            check_prefix(retriever, query, k, corpus)
        for where in FILTERS:
            check_where(retriever, query, where, corpus)
    check_empty(retriever, corpus.encoder)


def check_hits(hits: Sequence[Hit], k: int, name: str, corpus: Corpus) -> None:
    """At most `k`, each chunk once, best first, finite scores said under the retriever's name, slices that hold."""
    assert isinstance(hits, list)
    assert len(hits) <= k
    ids = [hit.chunk.id for hit in hits]
    assert len(set(ids)) == len(ids), "each chunk once"
    scores = [hit.score for hit in hits]
    assert all(type(s) is float and math.isfinite(s) for s in scores), scores
    assert scores == sorted(scores, reverse=True), "best first"
    for hit in hits:
        assert hit.scores.get(name) == hit.score, f"the score is said under {name!r}"
        document = corpus.document(hit.chunk.document_id)
        assert document.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text


def check_prefix(retriever: Retriever, query: Query, k: int, corpus: Corpus) -> None:
    """Asking for more changes nothing about the first ones."""
    more = retriever.search(query, k + 5, corpus)
    assert [h.chunk.id for h in more[:k]] == [h.chunk.id for h in retriever.search(query, k, corpus)]


def check_where(retriever: Retriever, query: Query, where: str, corpus: Corpus) -> None:
    """A filter keeps matching chunks alone, and as many of them as it can: filtered before the best `k` are taken."""
    condition = parse(where)
    everything = retriever.search(query, 10_000, corpus)
    expected = [h.chunk.id for h in everything if matches(condition, h.chunk.fields)]
    found = retriever.search(Query(query.text, where=condition), 2, corpus)
    if retriever.filter_moves_scores:
        assert all(matches(condition, h.chunk.fields) for h in found)
        assert len(found) == len(expected[:2]), "a filter takes away what does not match, and nothing else"
        return
    assert [h.chunk.id for h in found] == expected[:2], f"{where}: a filtered search is the search, filtered"


def check_empty(retriever: Retriever, encoder: Encoder) -> None:
    """A corpus without chunks has no hits."""
    assert retriever.search(Query("tea"), 5, MemoryCorpus((), (), encoder)) == []
