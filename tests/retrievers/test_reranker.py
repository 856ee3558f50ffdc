"""The small re-ranker: evidence, when it keeps quiet, its probabilities, and what its training learns."""

from dataclasses import replace

import numpy as np
import pytest

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.testing.corpus import MemoryCorpus, sample_corpus
from fovea.rag.tokens import words
from fovea.rag.trace import Trace
from fovea.rag.trained import Trained, load, save
from fovea.rag.types import Chunk, Document, Hit, Query, Span
from fovea.retrievers.dense import DenseRetriever
from fovea.retrievers.evidence import NAMES, evidence
from fovea.retrievers.reranker import LISTED, Reranker, in_deviations, listed, probabilities, ranking
from tests.learned_weights import weights_of
from tests.library_tools import over_a_library

ENCODER = HashEncoder()
TEXTS = {
    "a": "Armstrong walked on the Moon in 1969. He was born in Ohio.",
    "b": "The Moon pulls at the oceans. Tides rise, and many a ship that came to Ohio in 1969 had walked on water.",
    "c": "Green tea is brewed at 80 degrees.",
}
WALKED = "Who walked on the Moon in 1969?"


def read(question, hits, corpus):
    return evidence(Query(question), hits, in_deviations(hits, corpus), corpus)


def of(question, corpus, k=9):
    hits = DenseRetriever().search(Query(question), k, corpus)
    rows = read(question, hits, corpus)
    return {hit.chunk.document_id: dict(zip(NAMES, row.tolist())) for hit, row in zip(hits, rows)}


def test_evidence_says_what_it_is_named():
    corpus = MemoryCorpus.of(TEXTS, ENCODER)
    found = of(WALKED, corpus)
    asked = corpus.embed(WALKED)
    vectors = dict(zip("abc", corpus.vectors(list(corpus.chunks()))))
    assert found["a"]["meaning"] == pytest.approx(float(vectors["a"] @ asked) / corpus.spread, abs=1e-4)
    assert found["a"]["feedback"] > found["a"]["meaning"]
    assert found["a"]["bm25"] == 1
    assert found["c"]["bm25"] == found["c"]["pairs"] == found["c"]["numbers"] == found["c"]["names"] == 0
    assert found["a"]["numbers"] == found["b"]["numbers"] == found["a"]["names"] == 1
    rarity = corpus.rarity(list(dict.fromkeys(words(WALKED))))
    total = sum(rarity.values())
    assert found["a"]["words"] == pytest.approx((total - rarity["who"]) / total, abs=1e-5)
    assert found["a"]["window"] == 1
    assert 0 < found["b"]["window"] < 1, "the Moon and 1969 stand more than ten words apart"
    assert found["a"]["pairs"] == pytest.approx(5 / 6)
    assert found["a"]["neighbours"] == 1 > found["b"]["neighbours"]
    assert 0 < found["c"]["length"] < found["a"]["length"]


@pytest.mark.parametrize(
    ("question", "holds"),
    [("When did he walk?", "ab"), ("In which year was it?", "ab"), ("How many degrees?", "abc"), ("Who was it?", "")],
)
def test_a_year_or_a_number_counts_where_one_is_asked_for(question, holds):
    found = of(question, MemoryCorpus.of(TEXTS, ENCODER))
    assert {name for name, row in found.items() if row["kind"]} == set(holds)


def test_titles_count():
    corpus, query = MemoryCorpus.of(TEXTS, ENCODER), "tides of the moon"
    hits = [Hit(replace(chunk, title="Tides of Ohio"), 1.0) for chunk in corpus.chunks()]
    found = {name: read(query, hits, corpus)[:, at] for at, name in enumerate(NAMES)}
    assert (found["in title"] == found["in title"][0]).all()
    assert 0 < found["in title"][0] < 1
    assert (found["of title"] == 0.5).all()
    bare = read(query, [Hit(chunk, 1.0) for chunk in corpus.chunks()], corpus)
    assert (bare[:, [NAMES.index("in title"), NAMES.index("of title"), NAMES.index("link")]] == 0).all()


def test_a_passage_that_the_first_one_names_is_linked_and_the_first_ones_do_not_speak_for_themselves():
    titles = {"Arrival": "Arrival is a film by Villeneuve.", "Villeneuve": "He was born in Gentilly.", "Tea": "Leaves."}
    documents = [Document(name, text, title=name) for name, text in titles.items()]
    corpus = MemoryCorpus(documents, [d.chunk(Span(0, len(d.text))) for d in documents], ENCODER)
    hits = [Hit(chunk, score) for chunk, score in zip(corpus.chunks(), (3.0, 2.0, 1.0))]
    rows = read("Where was the director of Arrival born?", hits, corpus)
    assert rows[:, NAMES.index("link")].tolist() == [0, 1, 0]
    alone = read("Where was the director of Arrival born?", hits[:1], corpus)
    assert alone[0, NAMES.index("expansion")] == 0


@pytest.mark.parametrize("question", ["qqq zzz", "---", "绿茶", "the " * 500, "1969", "When?"])
def test_any_question_has_evidence(question):
    corpus = sample_corpus(ENCODER)
    hits = DenseRetriever().search(Query(question), 9, corpus)
    rows = read(question, hits, corpus)
    assert rows.shape == (len(hits), len(NAMES))
    assert np.isfinite(rows).all()
    assert evidence(Query(question), [], np.zeros(0), corpus).shape == (0, len(NAMES))


def test_nothing_is_encoded_but_the_question(monkeypatch):
    corpus, refiner = sample_corpus(ENCODER), Reranker(weights=weights_of("reranker", ENCODER))
    hits = DenseRetriever().search(Query("green tea"), 9, corpus)
    corpus.embed("green tea")
    monkeypatch.setattr(HashEncoder, "encode", lambda *_, **__: pytest.fail("something is encoded"))
    assert len(refiner.refine(Query("green tea"), hits, corpus)) == 9


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


def made(**arrays):
    size, count = len(NAMES), len(LISTED)
    plain = {"weight": np.ones(size), "scale": np.ones(size), "level": np.zeros(count)}
    return Trained("made", {**plain, "sharpness": 2.0, "bias": 0.0, **arrays}, {}, "")


def test_it_keeps_quiet_where_the_first_stage_is_far_ahead_and_where_nothing_tells_passages_apart():
    rng = np.random.default_rng(0)
    scores, rows = -np.sort(rng.exponential(size=12)), rng.random((12, len(NAMES))).astype(np.float32)
    assert (np.argsort(-ranking(made(), scores, rows)) != np.arange(12)).any()
    ahead = scores - 100.0 * (np.arange(12) > 0)
    assert ranking(made(), ahead, rows).argmax() == 0
    alike = np.repeat(rows[:1], 12, 0)
    np.testing.assert_allclose(np.diff(ranking(made(), scores, alike)), np.diff(scores), atol=1e-5)


def test_probabilities_fall_as_the_ranking_does_and_the_best_one_says_how_sure():
    rng = np.random.default_rng(1)
    scores, rows = -np.sort(rng.exponential(size=9)), rng.random((9, len(NAMES))).astype(np.float32)
    level = rng.normal(size=len(LISTED))
    found = probabilities(made(level=level), scores, rows)
    assert (np.argsort(-found) == np.argsort(-ranking(made(), scores, rows))).all()
    best = float(listed(scores, rows) @ level)
    assert found.max() == pytest.approx(1 / (1 + np.exp(-best)), abs=1e-5)
    assert np.isfinite(probabilities(made(), scores[:1], rows[:1])).all()


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


def test_weights_of_an_older_form_are_refused(tmp_path):
    now = load(weights_of("reranker", ENCODER), "reranker", "refiner")
    path = tmp_path / "old.safetensors"
    save(path, now.arrays, {**now.about, "evidence": ["vector", "sentence"]})
    corpus = sample_corpus(ENCODER)
    hits = DenseRetriever().search(Query("tea"), 6, corpus)
    with pytest.raises(ConfigError, match=r"(?s)another version.*fovea train retriever reranker"):
        Reranker(weights=str(path)).refine(Query("tea"), hits, corpus)


def test_evidence_is_the_same_over_a_library(tmp_path):
    sample = sample_corpus(ENCODER)
    with over_a_library(tmp_path, sample) as corpus:
        asked = ["tea", "moon", "nowhere", "the", "茶"]
        assert corpus.rarity(asked) == sample.rarity(asked)
        assert corpus.rarity(asked)["nowhere"] > corpus.rarity(asked)["tea"] > 0
        hits = DenseRetriever().search(Query("green tea"), 9, sample)
        np.testing.assert_allclose(read("green tea", hits, corpus), read("green tea", hits, sample), atol=1e-3)


def made_lists(column, sign=1.0, seed=0, questions=40):
    """Made questions whose first stage knows little, and whose answer has most (or least) of one kind of evidence."""
    import torch

    from fovea.retrievers.training.reranker import Lists

    rng = np.random.default_rng(seed)
    rows = rng.random((questions, 12, len(NAMES))).astype(np.float32)
    best = (sign * rows[..., NAMES.index(column)] if column else rng.random((questions, 12))).argmax(1)
    answers = (np.arange(12) == best[:, None]).astype(np.float32)
    scores = -np.sort(rng.exponential(0.5, (questions, 12)).astype(np.float32), axis=1)
    asked = np.stack([listed(s, r) for s, r in zip(scores, rows)])
    return Lists(*map(torch.from_numpy, (scores, rows, answers, asked)), torch.ones(questions))


def trained_on(tmp_path, collections, dev, **settings):
    from fovea.rag.training.loop import fit
    from fovea.retrievers.training.reranker import RerankerRecipe, RerankerTask

    task = RerankerTask(RerankerRecipe(steps=40, every=20, learning_rate=0.1, **settings), collections, dev, seed=0)
    fit(task, task.recipe, tmp_path, 0)
    return task


def test_training_learns_what_tells_an_answer_and_nothing_where_nothing_tells(tmp_path):
    pytest.importorskip("torch")
    told = trained_on(tmp_path / "told", [made_lists("pairs")], [made_lists("pairs", seed=1)])
    shuffled = trained_on(tmp_path / "shuffled", [made_lists("")], [made_lists("", seed=1)])
    assert told.scores()["gain"] > 0.2
    assert abs(shuffled.scores()["gain"]) < 0.1
    weight = told.arrays()["weight"]
    assert weight.argmax() == NAMES.index("pairs")
    assert (weight * np.where(np.array(NAMES) == "length", -1, 1) >= 0).all(), "evidence speaks one way"
    where = {name: told.arrays()[name] for name in ("weight", "scale")}
    one = made_lists("pairs", seed=1)
    np.testing.assert_allclose(
        ranking(Trained("", where, {}, ""), one.scores[0].numpy(), one.rows[0].numpy()),
        told.model(one, told.scale)[0].detach().numpy(), atol=1e-4,
    )  # fmt: skip


def test_what_helps_one_kind_of_questions_and_harms_another_is_learned_less(tmp_path):
    pytest.importorskip("torch")
    kinds = [made_lists("pairs"), made_lists("pairs", seed=1), made_lists("pairs", sign=-1.0, seed=2)]
    learned = {}
    for hurt in (0.0, 8.0):
        arrays = trained_on(tmp_path / str(hurt), kinds, kinds, hurt=hurt, plain=0.0).arrays()
        learned[hurt] = arrays["weight"][NAMES.index("pairs")]
    assert learned[8.0] < learned[0.0] / 2


def test_lists_of_a_collection(tmp_path):
    pytest.importorskip("torch")
    from fovea.retrievers.training.reranker import ABSENT, RerankerRecipe
    from tests.ships import collection

    task = RerankerRecipe(candidates=400).prepare([collection(True)], ENCODER, 0)
    [train], [dev] = task.train, task.dev
    assert len(train.rows) == 30
    assert len(dev.rows) == 10
    assert train.answers.sum(1).tolist() == [1] * 30
    assert (train.scores[:, 0] == 0).all()
    assert (train.scores[:, -1] == ABSENT).all(), "fewer are found than asked for"
    assert (train.answers[train.scores == ABSENT] == 0).all()
    assert np.isfinite(task.scores()["loss"])


def test_the_smooth_measure_is_the_measure_where_it_is_sharp():
    torch = pytest.importorskip("torch")
    from fovea.retrievers.training.reranker import ABSENT, Lists, approx_ndcg, ndcg
    from tests.retrievers.test_ascent import ndcg as plain

    rng = np.random.default_rng(0)
    scores, answers = rng.permutation(40).reshape(2, 20).astype(np.float32), (rng.random((2, 20)) < 0.3).astype("f")
    scores[1, 15:], answers[1, 15:] = ABSENT, 0
    ideal = [sum(1 / np.log2(i + 2) for i in range(min(10, int(row.sum())))) for row in answers]
    rest = torch.zeros(2, 20, len(NAMES)), torch.from_numpy(answers), torch.zeros(2, len(LISTED))
    found = Lists(torch.from_numpy(scores), *rest, torch.tensor(ideal))
    expected = [
        plain([str(i) for i in np.argsort(-s)], {str(i) for i in np.flatnonzero(a)}) for s, a in zip(scores, answers)
    ]
    np.testing.assert_allclose(ndcg(found.scores, found), expected, atol=1e-5)
    np.testing.assert_allclose(approx_ndcg(found.scores, found, 0.05), expected, atol=0.02)
