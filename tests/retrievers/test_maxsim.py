"""MaxSim over a tiny random model: scores are the library's, windows lose nothing, other models are refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers.multi_vector_encoder")

from fovea.rag.engines import load_torch
from fovea.rag.errors import ModelError
from fovea.rag.testing.corpus import sample_corpus
from fovea.rag.testing.refiners import check_refiner
from fovea.rag.trace import Trace
from fovea.rag.types import Query
from fovea.retrievers.maxsim import MaxSimRefiner
from tests.saved_models import Maker, save_multi_vector

TEXTS = ["the moon orbits the earth", "Tea is brewed at 80.", "rivers, and: rivers!", "..."]


@pytest.fixture(scope="module", params=["plain", "colbert"])
def folder(request, tmp_path_factory):
    place = tmp_path_factory.mktemp(request.param)
    return save_multi_vector(place) if request.param == "plain" else save_multi_vector(place, colbert=True)


def test_it_keeps_the_laws_of_refiners(folder):
    check_refiner(MaxSimRefiner(model=str(folder)))
    check_refiner(MaxSimRefiner(model=str(folder), top_n=2))


def test_scores_are_the_librarys(folder):
    theirs = load_torch(folder, kind="MultiVectorEncoder")
    expected = theirs.similarity(theirs.encode_query(["is tea brewed"]), theirs.encode_document(TEXTS[:3])).numpy()[0]
    ours = MaxSimRefiner(model=str(folder)).scores("is tea brewed", TEXTS)
    np.testing.assert_allclose(ours[:3], expected, atol=1e-4)
    assert np.isfinite(ours).all()


def test_hits_below_top_n_are_dropped_with_a_reason(folder):
    corpus = sample_corpus()
    hits, trace = corpus.nearest(corpus.embed("tea"), 5), Trace()
    with trace.stage("refine") as stage:
        refined = MaxSimRefiner(model=str(folder), top_n=3).refine(Query("tea"), hits, corpus)
    assert {h.chunk.id for h in refined} == {h.chunk.id for h in hits[:3]}
    assert set(stage.dropped) == {h.chunk.id for h in hits[3:]}


def test_a_long_passage_is_read_to_its_end(folder):
    refiner, trace = MaxSimRefiner(model=str(folder)), Trace()
    filler = "the moon orbits the earth in days and rivers flow " * 9
    with trace.stage("refine"):
        tea, moon = refiner.scores("is tea brewed", [filler + "tea is brewed", filler + "moon"])
        refiner.scores("is tea brewed " * 40, ["tea"])
    assert tea != moon
    assert list(trace.warnings.items()) == [
        ("passages longer than the model of maxsim reads were read in windows", 2),
        ("the question is longer than the model of maxsim reads; its end was not read", 1),
    ]


def test_a_model_of_another_kind_is_refused(tmp_path):
    made = Maker(tmp_path)
    dense = made.save("dense", made.pooled())
    with pytest.raises(ModelError) as caught:
        MaxSimRefiner(model=str(dense)).scores("tea", ["tea"])
    assert str(caught.value) == (
        f"refine maxsim: {dense} is a SentenceTransformer, which gives no vector a token\n"
        "  fix: a MultiVectorEncoder, such as lightonai/GTE-ModernColBERT-v1; or refine: {use: cross_encoder}"
    )
