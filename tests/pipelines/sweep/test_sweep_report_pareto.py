"""The Pareto front and the order of trials."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.sweep.report.pareto import front, pareto
from fovea.pipelines.sweep.report.ranking import baseline, by_question, changes, metrics, ranked, same, varied, winner
from tests.growth import MOST, growth
from tests.sweep_records import BOTH, record, trial


def dominates(a, b, directions) -> bool:
    better = [x > y if d == "maximise" else x < y for x, y, d in zip(a, b, directions)]
    equal = [x == y for x, y in zip(a, b)]
    return any(better) and all(b or e for b, e in zip(better, equal))


@st.composite
def clouds(draw):
    m = draw(st.integers(1, 4))
    directions = draw(st.lists(st.sampled_from(["maximise", "minimise"]), min_size=m, max_size=m))
    point = st.lists(st.integers(-3, 3) | st.floats(-1e9, 1e9), min_size=m, max_size=m)
    return draw(st.lists(point, max_size=40)), directions


@given(clouds())
def test_no_front_point_is_dominated_and_all_others_are(cloud):
    points, directions = cloud
    found = front(np.array(points, np.float64).reshape(len(points), len(directions)), directions)
    assert found == sorted(set(found))
    for i, point in enumerate(points):
        assert (i in found) != any(dominates(other, point, directions) for other in points), (i, found)


def test_by_hand():
    points = np.array([[0.9, 5.0], [0.8, 2.0], [0.8, 3.0], [0.9, 5.0], [0.1, 2.0], [0.1, 1.0]])
    assert front(points, ["maximise", "minimise"]) == [0, 1, 3, 5], "equal points are on the front together"
    assert front(points, ["maximise", "maximise"]) == [0, 3]
    assert front(points[:, :1], ["minimise"]) == [4, 5]
    assert front(np.zeros((0, 2)), ["minimise", "minimise"]) == []
    assert front(np.array([[1.0, 1, 1], [1, 1, 1], [1, 1, 0], [2, 0, 0]]), ["minimise"] * 3) == [2, 3]


def test_two_objectives_take_n_log_n():
    """A front as long as the study: comparing all with all would take a hundred million comparisons in Python."""

    def whole(n: int):
        points = np.stack([np.arange(float(n))] * 2, 1)
        return lambda: front(points, ["maximise", "minimise"])

    assert len(whole(20_000)()) == 20_000
    assert growth(whole, 5_000) < MOST


def test_only_complete_trials_that_have_every_objective():
    trials = [
        trial(0, 0.5, cost=1.0),
        trial(1, 0.9, cost=9.0, state="pruned"),
        trial(2, 0.9),
        trial(3, 0.4, cost=2.0),
        trial(4, 0.8, cost=float("nan")),
        trial(5, 0.6, cost=3.0),
    ]
    study = record(trials, BOTH)
    assert [t.number for t in pareto(study)] == [0, 5]
    assert [t.number for t in ranked(study)] == [2, 4, 5, 0, 3], "one that lacks the second objective is still ranked"
    assert winner(study) is trials[2]
    assert metrics(study) == ["nDCG@10", "seconds"]
    assert pareto(record(trials, {})) == []
    assert ranked(record(trials, {})) == []


def test_ties_are_broken_by_the_next_objective_then_the_number():
    trials = [trial(3, 0.5, cost=2.0), trial(2, 0.5, cost=1.0), trial(1, 0.5, cost=2.0), trial(0, 0.5)]
    assert [t.number for t in ranked(record(trials, BOTH))] == [2, 1, 3, 0]


def test_a_baseline_that_did_not_complete_is_none():
    trials = [trial(0, 0.5, state="failed"), trial(1, 0.6)]
    assert baseline(record(trials, baseline=trials[0].id)) is None
    assert baseline(record(trials, baseline=trials[1].id)) is trials[1]
    assert baseline(record(trials, baseline="nobody")) is None


def test_values_by_question_leave_out_failures_and_what_is_no_number():
    from fovea.pipelines.evaluation.outcome import Outcome

    outcomes = [
        Outcome("a", {"nDCG@10": 0.5}, {"total": 0.2, "keep": 0.1}, {"passages": 300}),
        Outcome("b", {"nDCG@10": 0.5}, failed="no vector"),
        Outcome("c", {"nDCG@10": float("nan")}),
    ]
    one = trial(0, 0.5, outcomes=outcomes)
    assert by_question(one, "nDCG@10") == {"a": 0.5}
    assert by_question(one, "seconds") == {"a": 0.2}
    assert by_question(one, "tokens_passages") == {"a": 300}
    assert by_question(one, "passages") == {}


@pytest.mark.parametrize(
    ("one", "other", "is_same"), [(1, 1.0, True), (1, True, False), (None, 0, False), ("1", 1, False)]
)
def test_same(one, other, is_same):
    assert same(one, other) is is_same


def test_what_differs():
    a = trial(0, 0.1, params={"size": 200, "rerank": None, "store": "faiss"})
    b = trial(1, 0.1, params={"size": 0.25, "store": "faiss", "threshold": True})
    assert changes(b, a) == ["size 200 → 0.25", "no rerank", "threshold true"]
    assert changes(b, None, ["size", "rerank"]) == ["size 0.25"]
    assert changes(a, a) == []
    assert varied([a, b]) == ["size", "rerank", "threshold"]
