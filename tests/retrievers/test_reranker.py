"""The small re-ranker: evidence, its probabilities, and what its training learns."""

from dataclasses import replace

import numpy as np
import pytest

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.tokens import words
from fovea.rag.trace import Trace
from fovea.rag.trained import load
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.evidence import NAMES, among, evidence
from fovea.retrievers.reranker import Reranker
from tests.learned_weights import weights_of
from tests.library_tools import over_a_library

ENCODER = HashEncoder()
TEXTS = {
    "a": "Armstrong walked on the Moon in 1969. He was born in Ohio.",
    "b": "The Moon pulls at the oceans. Tides rise in 1969 places.",
    "c": "Green tea is brewed at 80 degrees.",
}


def of(question, corpus, k=9):
    hits = DenseRetriever().search(Query(question), k, corpus)
    rows = evidence(Query(question), hits, corpus)
    return {hit.chunk.document_id: dict(zip(NAMES, row.tolist())) for hit, row in zip(hits, rows)}


def test_evidence_says_what_it_is_named():
    corpus = MemoryCorpus.of(TEXTS, ENCODER)
    found = of("Who walked on the Moon in 1969?", corpus)
    asked = corpus.embed("Who walked on the Moon in 1969?")
    vectors = dict(zip("abc", corpus.vectors(list(corpus.chunks()))))
    sentence = ENCODER.encode(["Armstrong walked on the Moon in 1969."])[0]
    assert found["a"]["vector"] == pytest.approx(float(vectors["a"] @ asked), abs=1e-5)
    assert found["a"]["sentence"] == pytest.approx(float(sentence @ asked), abs=1e-5)
    assert found["a"]["bm25 of best"] == 1
    assert found["c"]["bm25 of best"] == found["c"]["pairs"] == found["c"]["numbers"] == 0
    assert found["a"]["numbers"] == found["b"]["numbers"] == 1
    rarity = corpus.rarity(list(dict.fromkeys(words("Who walked on the Moon in 1969?"))))
    total = sum(rarity.values())
    assert found["a"]["words"] == pytest.approx((total - rarity["who"]) / total, abs=1e-5)
    assert found["b"]["words of a sentence"] < found["b"]["words"], "the Moon and 1969 stand in two sentences"
    assert found["a"]["pairs"] == pytest.approx(5 / 6)
    assert found["a"]["feedback"] > found["a"]["vector"]
    assert 0 < found["c"]["length"] < found["a"]["length"]


def test_titles_count():
    corpus, query = MemoryCorpus.of(TEXTS, ENCODER), Query("tides of the moon")
    hits = [Hit(replace(chunk, title="Tides"), 1.0) for chunk in corpus.chunks()]
    column = evidence(query, hits, corpus)[:, NAMES.index("words of the title")]
    assert (column == column[0]).all()
    assert 0 < column[0] < 1
    bare = evidence(query, [Hit(chunk, 1.0) for chunk in corpus.chunks()], corpus)
    assert (bare[:, NAMES.index("words of the title")] == 0).all()


def test_standing_among_the_hits():
    rows = np.array([[1.0] * 13, [3.0] * 13, [2.0] * 12 + [1.0]], np.float32)
    found = among(rows)
    assert found.shape == (3, 39)
    np.testing.assert_allclose(found[:, 13:26].mean(0), 0, atol=1e-6)
    assert (found[:, 26:] <= 0).all()
    assert (among(np.ones((4, 13), np.float32))[:, 13:26] == 0).all(), "no spread is no standing"
    assert among(np.zeros((0, 13), np.float32)).shape == (0, 39)
    assert np.isfinite(among(rows[:1])).all()


@pytest.mark.parametrize("question", ["qqq zzz", "---", "绿茶", "the " * 500, "1969"])
def test_any_question_has_evidence(question):
    corpus = sample_corpus(ENCODER)
    hits = DenseRetriever().search(Query(question), 9, corpus)
    rows = evidence(Query(question), hits, corpus)
    assert rows.shape == (len(hits), 13)
    assert np.isfinite(rows).all()
    assert evidence(Query(question), [], corpus).shape == (0, 13)


def test_probabilities_do_not_depend_on_the_order_given():
    corpus, refiner = sample_corpus(ENCODER), Reranker(weights=weights_of("reranker", ENCODER))
    query = Query("green tea and the Moon")
    hits = DenseRetriever().search(query, 8, corpus)
    there = {h.chunk.id: h.score for h in refiner.refine(query, hits, corpus)}
    back = {h.chunk.id: h.score for h in refiner.refine(query, hits[::-1], corpus)}
    assert there == pytest.approx(back, abs=1e-6)
    assert all(0 < p < 1 for p in there.values())
    foreign = Hit(Chunk("elsewhere", 0, 9, "green tea"), 0.5)
    assert len(refiner.refine(query, [*hits, foreign], corpus)) == 9, "a hit of no store is encoded"


def test_what_is_below_is_dropped_and_the_wrong_encoder_refused():
    corpus, weights = sample_corpus(ENCODER), weights_of("reranker", ENCODER)
    hits, trace = DenseRetriever().search(Query("tea"), 6, corpus), Trace()
    with trace.stage("refine") as stage:
        assert len(Reranker(weights=weights, top_n=4).refine(Query("tea"), hits, corpus)) == 4
    assert len(stage.dropped) == 2
    with pytest.raises(ConfigError, match=r"refine reranker: the weights .* read vectors of hash \(256 numbers\)"):
        Reranker(weights=weights).refine(Query("tea"), hits, sample_corpus(HashEncoder(size=32)))
    with pytest.raises(ModelError, match="belong to reranker, not to query_map"):
        load(weights, "query_map", "retriever")


def test_rarity_is_the_same_over_a_library(tmp_path):
    sample = sample_corpus(ENCODER)
    with over_a_library(tmp_path, sample) as corpus:
        asked = ["tea", "moon", "nowhere", "the", "茶"]
        assert corpus.rarity(asked) == sample.rarity(asked)
        assert corpus.rarity(asked)["nowhere"] > corpus.rarity(asked)["tea"] > 0
        query = Query("green tea")
        hits = DenseRetriever().search(query, 9, sample)
        np.testing.assert_allclose(evidence(query, hits, corpus), evidence(query, hits, sample), atol=1e-4)


def test_training_learns_what_tells_an_answer_and_nothing_where_nothing_tells(tmp_path):
    pytest.importorskip("torch")
    from fovea.rag.training.loop import fit
    from fovea.retrievers.training.reranker import RerankerRecipe, hybrid
    from tests.ships import collection

    recipe = RerankerRecipe(steps=120, every=40, candidates=6, batch=8)
    tasks = {}
    for name, told in (("told", True), ("shuffled", False)):
        task = recipe.prepare([collection(told)], ENCODER, 0)
        before = task.scores()
        fit(task, recipe, tmp_path / name, 0)
        tasks[name] = before, task.scores()
    (untrained, learned), (_, shuffled) = tasks["told"], tasks["shuffled"]
    assert learned["loss"] < untrained["loss"] - 0.3
    assert learned["MRR"] > 0.9
    assert shuffled["MRR"] < learned["MRR"] - 0.2
    corpus_of = collection(True).part("dev")
    corpus = MemoryCorpus(corpus_of.documents, corpus_of.chunks, ENCODER)
    assert len(hybrid(corpus_of.questions[0].query, corpus)) >= 6
