"""Training of the event head: what it is shown never lies ahead, and it learns what a rule cannot say."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("dateparser", reason="needs the extra 'time'")


from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.trained import load
from fovea.retrievers.collections.read import read
from fovea.retrievers.time.fit import closed, fit, near, recency
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.training.event_aware import EventAwareRecipe
from fovea.retrievers.training.timed import Spans, World, askings
from fovea.retrievers.training.train import train
from tests.retrievers.test_collections import article, ask

pytestmark = pytest.mark.usefixtures("one_thread")

ENCODER = HashEncoder(size=64)
QUICK = EventAwareRecipe(steps=40, every=10, coarse=10, batch=16, heads=2, width=8, rank=4, negatives=6, moments=2)


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Pages of clubs; who led one is asked of a year, and where it plays of none."""
    rows = []
    for number in range(40):
        first = 1950 + number % 7
        paras = [f"Then Leader{number}{i} led the club from {first + 8 * i} to {first + 8 * i + 7}." for i in range(4)]
        asked = [ask(f"Who led the club in {first + 8 * i + 3}?", i + 1) for i in range(4)]
        rows.append(
            article(
                f"/wiki/{number}",
                *asked,
                ask("Where does it play?", 5),
                paras=["Club", *paras, "It plays in the old ground by the river, as it always did."],
            )
        )
    path = tmp_path_factory.mktemp("data") / "train.json"
    path.write_text(json.dumps(rows))
    return read(path)


@pytest.fixture(scope="module")
def found(collection):
    world = World.of(collection.part("train"), ENCODER, situated=True)
    return askings([world], ENCODER, top=5, moments=3, seed=0)


def test_every_question_is_asked_in_its_ways_and_nothing_ahead_is_shown(collection, found):
    kinds = [one.kind for one in found.askings]
    dated = sum(q.query.text.startswith("Who") for q in collection.part("train").questions)
    assert (kinds.count("dated"), kinds.count("drifting")) == (dated, 3 * dated)
    assert kinds.count("timeless") == 3 * (len(collection.part("train").questions) - dated) > 0
    _, starts, _ = found.events
    for one in found.askings:
        assert (starts[one.events] <= one.at).all()
        assert len(one.answers)
        tau = found.features(one)
        assert not tau[len(one.events) :].any()


def test_times_of_many_passages_are_those_of_each():
    texts = ["In 1950.", "none", "from 1960 to 1964, and in 1990", "since 1970", "on 5 May 1961"]
    stated = [scanner(("en",)).intervals(text) for text in texts]
    spans, (asked,) = Spans([[closed(one) for one in some] for some in stated]), scanner(("en",)).intervals("1962-1963")
    start, end = closed(asked)
    assert spans.fit(start, end) == pytest.approx([fit([asked], some) for some in stated], abs=1e-6)
    one_by_one = [near(start, end, [closed(one) for one in some]) if some else 0 for some in stated]
    assert spans.near(start, end) == pytest.approx(one_by_one, abs=1e-6)
    assert spans.recency(end, 1826.0) == pytest.approx([recency(some, end, 1826.0) for some in stated], abs=1e-6)


def test_it_learns_and_learns_the_same_again(collection, tmp_path):
    task = QUICK.prepare([collection], ENCODER, 0)
    before = task.scores()["loss"]
    weights = []
    for name in ("a", "b"):
        result = train(QUICK, [collection], ENCODER, tmp_path / name)
        weights.append(load(str(tmp_path / name), "event_aware", "retriever").arrays)
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert result.scores["loss"] < before - 0.05
    assert (weights[0]["moment"] > 0).all(), "times only ever add"
