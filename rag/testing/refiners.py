"""What every refiner must keep to, for ours and for anybody's.

check_refiner(MyRefiner())
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.trace import Trace
from fovea.rag.types import Hit, Query

QUESTIONS = ("How hot is green tea?", "moon oceans ships", "多瑙河")


def check_refiner(refiner: Refiner, corpus: Corpus | None = None) -> None:
    """Every law below, over lists of every length from none to the whole corpus; of probabilities, if it needs them."""
    corpus = corpus or sample_corpus()
    total = len(list(corpus.chunks()))
    for text in QUESTIONS:
        query = Query(text)
        for k in (0, 1, 2, 7, total):
            hits = [h.scored("dense", h.score) for h in corpus.nearest(corpus.embed(text), k)] if k else []
            if "probabilities" in refiner.needs:
                hits = [h.scored("probability", 1 / (1 + math.exp(4 - 10 * h.score))) for h in hits]
            check_refined(refiner, query, hits, corpus)


def check_refined(refiner: Refiner, query: Query, hits: Sequence[Hit], corpus: Corpus) -> None:
    """Each passage once, best first, its text a slice of its document; every hit that goes in comes out or has a
    reason; the same twice; what earlier stages said is kept; the list given is left as it was.
    """
    before, trace = list(hits), Trace()
    with trace.stage("refine") as stage:
        refined = refiner.refine(query, hits, corpus)
    assert isinstance(refined, list)
    assert list(hits) == before
    ids = [hit.chunk.id for hit in refined]
    assert len(set(ids)) == len(ids), "each passage once"
    scores = [hit.score for hit in refined]
    assert all(math.isfinite(s) for s in scores)
    assert scores == sorted(scores, reverse=True), "best first"
    check_reasons(hits, refined, stage.dropped)
    said = {h.chunk.id: h.scores for h in hits}
    for hit in refined:
        document = corpus.document(hit.chunk.document_id)
        assert document.text[hit.chunk.start : hit.chunk.end] == hit.chunk.text
        assert said.get(hit.chunk.id, {}).items() <= hit.scores.items()
    assert refiner.refine(query, hits, corpus) == refined, "the same hits give the same result"


def check_reasons(hits: Sequence[Hit], refined: Sequence[Hit], dropped: dict[str, str]) -> None:
    """Who goes in comes out or has a reason, and nobody has both."""
    out = {hit.chunk.id for hit in refined}
    for hit in hits:
        assert (hit.chunk.id in out) != bool(dropped.get(hit.chunk.id)), f"{hit.chunk.where}: out, or dropped and why"
    assert dropped.keys() <= {hit.chunk.id for hit in hits}, "reasons are for hits that were there"
