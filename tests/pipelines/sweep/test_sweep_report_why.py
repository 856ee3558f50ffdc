"""Importances and main effects, against figures worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.report.effects import effects
from fovea.pipelines.sweep.report.importance import importance
from fovea.pipelines.sweep.report.levels import dependents, levels, ordered
from tests.sweep_records import record, trial


def study(*rows, **more):
    """Trials of `(params, scores)`."""
    return record([trial(i, scores, params=params) for i, (params, scores) in enumerate(rows)], **more)


def grid(figures, names=("a", "b")):
    """A full grid of two levels each."""
    return study(*((dict(zip(names, at)), y) for at, y in zip(product((0, 1), repeat=len(names)), figures)))


def test_a_full_grid_without_interaction():
    found = importance(grid([0.0, 2.0, 10.0, 12.0]), "nDCG@10")
    assert found.shares == pytest.approx({"a": 100 / 104, "b": 4 / 104})
    assert found.rest == pytest.approx(0)
    assert (found.trials, found.effects) == (4, 2)


def test_what_two_do_together_is_the_rest():
    found = importance(grid([0.0, 0.0, 0.0, 4.0]), "nDCG@10")
    assert found.shares == pytest.approx({"a": 1 / 3, "b": 1 / 3})
    assert found.rest == pytest.approx(1 / 3)


def test_an_unbalanced_design_shares_out_what_both_explain():
    found = importance(study(({"a": 0, "b": 0}, 0.0), ({"a": 0, "b": 1}, 1.0), ({"a": 1, "b": 1}, 3.0)), "nDCG@10")
    assert found.shares == pytest.approx({"a": 37 / 56, "b": 19 / 56})


def test_a_threshold_gets_only_what_differs_between_those_that_have_it():
    rows = [({"cut": "fixed", "k": 1}, 0.0), ({"cut": "fixed", "k": 2}, 0.0)]
    same = [({"cut": "sem", "t": 0.3, "k": 1}, 1.0), ({"cut": "sem", "t": 0.5, "k": 1}, 1.0),
            ({"cut": "sem", "t": 0.3, "k": 2}, 1.0), ({"cut": "sem", "t": 0.5, "k": 2}, 1.0)]  # fmt: skip
    found = importance(study(*rows, *same), "nDCG@10")
    assert found.shares == pytest.approx({"cut": 1, "t": 0, "k": 0})
    own = [(params, 1.0 if params["t"] == 0.3 else 3.0) for params, _ in same]
    found = importance(study(*rows * 2, *own), "nDCG@10")  # mean 1, total 12, between cuts 8, between thresholds 4
    assert found.shares == pytest.approx({"cut": 8 / 12, "t": 4 / 12, "k": 0})


def test_being_there_is_a_level_where_nothing_else_says_so():
    found = importance(study(({}, 0.0), ({}, 0.0), ({"t": 1}, 2.0), ({"t": 1}, 2.0)), "nDCG@10")
    assert found.shares == pytest.approx({"t": 1})


@given(st.lists(st.integers(-50, 50), min_size=12, max_size=12), st.integers(-5, 5).filter(bool))
def test_in_a_full_grid_it_is_the_between_level_sum_of_squares(figures, factor):
    y = np.array(figures, float).reshape(2, 3, 2)
    rows = [(dict(zip("abc", at)), float(y[at])) for at in np.ndindex(2, 3, 2)]
    found = importance(study(*rows), "nDCG@10")
    total = ((y - y.mean()) ** 2).sum()
    for axis, name in enumerate("abc"):
        means = y.mean(tuple(i for i in range(3) if i != axis))
        between = ((means - y.mean()) ** 2).sum() * y.size / len(means)
        assert found.shares[name] == pytest.approx(between / total if total else 0, abs=1e-9)
    again = importance(study(*((p, factor * s + 7) for p, s in reversed(rows))), "nDCG@10")
    assert again.shares == pytest.approx(found.shares, abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.floats(0, 1)), min_size=2, max_size=30))
def test_shares_are_never_negative_and_add_up(rows):
    found = importance(study(*(({"a": a, "b": b}, y) for a, b, y in rows)), "nDCG@10")
    assert all(share >= 0 for share in found.shares.values())
    total = sum(found.shares.values()) + found.rest
    assert total == pytest.approx(1, abs=1e-6) or (total == 0 and found.effects == 0)


def test_many_parameters_draw_orders_and_agree_with_the_grid():
    """Nine parameters, of which one matters twice as much as another in standard deviation."""
    rows = [(dict(zip("abcdefghi", at)), 2.0 * at[0] + at[5]) for at in product((0, 1), repeat=9)]
    found = importance(study(*rows), "nDCG@10")
    assert list(found.shares)[:2] == ["a", "f"]
    assert found.shares["a"] == pytest.approx(0.8)
    assert found.shares["f"] == pytest.approx(0.2)


@pytest.mark.parametrize(
    "rows", [[], [({"a": 1}, 0.5)], [({"a": 1}, 0.5), ({"a": 1}, 0.7)], [({"a": 1}, 0.5), ({"a": 2}, 0.5)]]
)
def test_nothing_to_explain(rows):
    found = importance(study(*rows), "nDCG@10")
    assert sum(found.shares.values()) == found.rest == found.effects == 0


def test_levels():
    numbers = [trial(i, 0.5, params={"t": float(2 ** (i % 20))}) for i in range(100)]
    found = levels(numbers, "t")
    assert ordered(numbers, "t", found) == [
        "1 to 8",
        "16 to 128",
        "256 to 2.05e+03",
        "4.1e+03 to 3.28e+04",
        "6.55e+04 to 5.24e+05",
    ]
    assert {found.count(level) for level in found} == {20}
    mixed = [trial(i, 0.5, params=p) for i, p in enumerate([{"x": 1}, {"x": "1"}, {"x": True}, {"x": None}, {}])]
    assert levels(mixed, "x") == ["1", "'1'", "true", "none", None]
    one = [trial(i, 0.5, params={"t": 5 if i < 80 else i}) for i in range(100)]
    assert len(set(levels(one, "t"))) <= 5


def test_dependents():
    rows = [{"cut": "fixed"}, {"cut": "sem", "t": 1, "u": 2}, {"cut": "sem", "t": 2, "u": 2}, {"cut": "fixed"}]
    trials = [trial(i, 0.5, params=p) for i, p in enumerate(rows)]
    assert dependents(trials, "cut") == {"t", "u"}
    assert dependents(trials, "t") == set(), "of two that are always there together neither depends on the other"


def test_effects_by_hand():
    rows = [({"a": 0, "b": 0}, [0, 0, 1]), ({"a": 0, "b": 1}, [0, 1, 1]), ({"a": 1, "b": 0}, [1, 0, 1]),
            ({"a": 1, "b": 1}, [1, 1, 0]), ({"a": 2, "b": 5}, [1, 1, 1])]  # fmt: skip
    found = effects(study(*rows), "nDCG@10")
    zero, one, two = found["a"]
    assert (zero.level, zero.reference, zero.trials, zero.mean) == ("0", True, 2, pytest.approx(0.5))
    # by question: (1 + 1) / 2, (0 + 0) / 2, (0 - 1) / 2
    assert (one.pairs, one.difference) == (2, pytest.approx((1 + 0 - 0.5) / 3))
    assert one.low == pytest.approx(-0.5)
    assert one.high == pytest.approx(1.0)
    assert (two.trials, two.mean, two.pairs, two.difference, two.low) == (1, 1.0, 0, None, None)


def test_the_reference_is_the_baselines_level_and_failed_questions_are_left_out():
    trials = [trial(0, [0, 0, 0], params={"a": 0}), trial(1, [1, 1, 1], params={"a": 1})]
    failed = (trials[0].outcomes[0], replace(trials[0].outcomes[1], failed="it hung"), trials[0].outcomes[2])
    trials[0] = replace(trials[0], outcomes=failed)
    zero, one = effects(record(trials, baseline=trials[1].id), "nDCG@10")["a"]
    assert one.reference
    assert (zero.difference, zero.low, zero.high, zero.pairs) == (-1, None, None, 1)


def test_a_dependent_parameter_is_averaged_over():
    rows = [({"cut": "fixed", "k": 1}, [0.0, 0.2]), ({"cut": "sem", "t": 1, "k": 1}, [0.4, 0.4]),
            ({"cut": "sem", "t": 2, "k": 1}, [0.6, 0.6])]  # fmt: skip
    found = effects(study(*rows), "nDCG@10")
    assert (found["cut"][1].pairs, found["cut"][1].difference) == (1, pytest.approx((0.5 + 0.3) / 2))
    assert found["t"][1].difference == pytest.approx(0.2)


def test_without_values_by_question_there_is_no_interval():
    one = effects(study(({"a": 0}, 0.5), ({"a": 1}, 0.75)), "nDCG@10")["a"][1]
    assert (one.difference, one.low, one.high) == (0.25, None, None)
    assert effects(record([]), "nDCG@10") == {}


def test_a_metric_that_some_trials_lack():
    trials = [
        trial(0, 0.1, params={"a": 0}, cost=1.0),
        trial(1, 0.2, params={"a": 1}),
        trial(2, 0.3, params={"a": 2}, cost=3.0),
    ]
    assert importance(record(trials), "seconds").trials == 2
    assert [e.level for e in effects(record(trials), "seconds")["a"]] == ["0", "2"]
    seconds = [replace(t, outcomes=(Outcome("q0", seconds={"total": t.number + 1.0}),)) for t in trials]
    assert effects(record(seconds), "seconds")["a"][1].difference == 2.0
