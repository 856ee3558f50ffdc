"""The cross-encoder, over a tiny random model: its scores are CrossEncoder.predict's, its windows lose nothing."""

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

from fovea.rag.component import Component
from fovea.rag.errors import ModelError
from fovea.rag.retrieval import Refiner
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.testing.refiners import check_refiner
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers.cross_encoder import CrossEncoderRefiner
from tests.tiny import save_cross_encoder

QUESTION = "is tea brewed"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_cross_encoder(tmp_path_factory.mktemp("cross") / "model")


@pytest.fixture(scope="module")
def refiner(folder):
    return CrossEncoderRefiner(model=str(folder), device="cpu")


def test_it_keeps_the_laws_of_refiners(refiner):
    check_refiner(refiner)
    check_refiner(CrossEncoderRefiner(model=refiner.model, top_n=2))


def test_hits_come_back_by_probability_and_keep_their_scores(refiner):
    corpus = sample_corpus()
    hits = [h.scored("dense", h.score) for h in corpus.nearest(corpus.embed(QUESTION), 6)]
    refined = refiner.refine(Query(QUESTION), hits, corpus)
    expected = refiner.probabilities(QUESTION, [h.chunk.text for h in hits])
    assert [h.score for h in refined] == sorted(map(float, expected), reverse=True)
    assert all(0 <= h.score <= 1 and h.scores["cross_encoder"] == h.score and "dense" in h.scores for h in refined)


def test_hits_below_top_n_are_dropped_with_a_reason(folder):
    corpus = sample_corpus()
    hits = corpus.nearest(corpus.embed(QUESTION), 5)
    trace = Trace()
    with trace.stage("refine") as stage:
        refined = CrossEncoderRefiner(model=str(folder), top_n=3).refine(Query(QUESTION), hits, corpus)
    assert {h.chunk.id for h in refined} == {h.chunk.id for h in hits[:3]}
    assert set(stage.dropped) == {h.chunk.id for h in hits[3:]}


def test_a_long_passage_is_scored_by_its_best_window_and_warned_of(refiner):
    filler = "the moon orbits the earth in days and rivers flow. " * 12
    trace = Trace()
    with trace.stage("refine"):
        whole, short = refiner.probabilities(QUESTION, [filler + "tea is brewed at 80 degrees.", "short"])
    assert [n for m, n in trace.warnings.items() if "best window" in m] == [1]
    question, room = refiner._fit(QUESTION)
    from fovea.rag.windows import text_windows

    parts = text_windows(filler + "tea is brewed at 80 degrees.", refiner.tokenizer, room)
    assert len(parts) > 2
    assert "".join(parts) == filler + "tea is brewed at 80 degrees."
    assert all(refiner.tokenizer.count(p) <= room for p in parts)
    assert whole == pytest.approx(max(refiner.probabilities(question, [p])[0] for p in parts), abs=1e-6)
    assert short == pytest.approx(refiner.probabilities(QUESTION, ["short"])[0], abs=1e-6)


def test_any_text_has_a_probability(refiner):
    from fovea.rag.testing.encoders import HOSTILE

    for question in ("is tea brewed", "", "\ud800"):
        scores = refiner.probabilities(question, HOSTILE)
        assert scores.shape == (len(HOSTILE),)
        assert ((scores >= 0) & (scores <= 1)).all()


def test_a_question_that_leaves_no_room_is_warned_of(refiner):
    trace = Trace()
    with trace.stage("refine"):
        scores = refiner.probabilities("is tea brewed at degrees " * 50, ["tea", "moon " * 100])
    assert any("the question is longer" in m for m in trace.warnings)
    assert np.isfinite(scores).all()


def test_the_fingerprint_is_of_the_content(folder, tmp_path, refiner):
    assert CrossEncoderRefiner(model=str(folder), batch_size=1).fingerprint == refiner.fingerprint
    assert CrossEncoderRefiner(model=str(folder), top_n=9).fingerprint != refiner.fingerprint
    other = save_cross_encoder(tmp_path / "other", seed=1)
    assert CrossEncoderRefiner(model=str(other)).fingerprint != refiner.fingerprint


def test_a_classifier_of_three_labels_is_refused(tmp_path):
    three = CrossEncoderRefiner(model=str(save_cross_encoder(tmp_path / "three", labels=3)))
    with pytest.raises(ModelError, match="3 labels"):
        three.probabilities("a", ["b"])


def test_a_model_that_is_nowhere_is_an_error_with_a_remedy():
    with pytest.raises(ModelError, match="cross-encoder/no-such-model") as caught:
        CrossEncoderRefiner(model="no-such-model", offline=True).probabilities("a", ["b"])
    assert "fix:" in str(caught.value)


def test_it_is_named_in_yaml(folder):
    made: Component = Refiner.model_validate({"use": "cross_encoder", "model": str(folder), "top_n": 7})
    assert isinstance(made, CrossEncoderRefiner)
    assert made.gives == {"probabilities"}
