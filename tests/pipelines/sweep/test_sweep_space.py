"""The space of a study: domains, names, conditions, grids, constraints."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.spec import yaml_source
from fovea.pipelines.sweep.constraints import Constraint
from fovea.pipelines.sweep.domain import Choice, Range, domain, labels, values
from fovea.pipelines.sweep.space import Space
from fovea.rag.errors import ConfigError, ConfigErrors


def space(text: str) -> Space:
    return Space(yaml_source.parse(text, file="study.yaml"), ("pipeline",))


def settings(text: str) -> list[Any]:
    return [one.settings for one in space(text).grid()]


def test_a_grid_is_in_the_order_of_the_file_the_last_fastest() -> None:
    found = settings("pipeline: {a: {choice: [1, 2]}, b: 7, c: [{d: {choice: [x, y]}}]}")
    assert found == [
        {"a": 1, "b": 7, "c": [{"d": "x"}]}, {"a": 1, "b": 7, "c": [{"d": "y"}]},
        {"a": 2, "b": 7, "c": [{"d": "x"}]}, {"a": 2, "b": 7, "c": [{"d": "y"}]},
    ]  # fmt: skip


def test_what_stands_in_an_option_is_there_where_the_option_is() -> None:
    one = space("""
pipeline:
  segment:
    choice:
      - {use: fixed, max_tokens: {choice: [1, 2]}, overlap: {choice: [0, 1]}}
      - {use: sage, max_tokens: {choice: [1, 2]}}
      - {use: sentence}
  refine: {choice: [[], {use: mmr}]}
""")
    found = list(one.grid())
    assert len(found) == (4 + 2 + 1) * 2
    assert list(one.parameters) == ["segment", "segment.max_tokens", "segment.overlap", "refine"]
    assert found[0].params == {"segment": "fixed", "segment.max_tokens": 1, "segment.overlap": 0, "refine": "none"}
    assert found[-1].params == {"segment": "sentence", "refine": "mmr"}
    assert found[-1].settings == {"segment": {"use": "sentence"}, "refine": {"use": "mmr"}}


def test_parameters_of_one_name_and_domain_are_one_and_others_are_told_apart() -> None:
    one = space("pipeline: {s: {choice: [{use: a, n: {choice: [1, 2]}}, {use: b, n: {choice: [1, 3]}}]}}")
    assert list(one.parameters) == ["s", "s[a].n", "s[b].n"]
    one = space("pipeline: {x: {choice: [1, 2], as: size}, y: {choice: [1, 2], as: size}}")
    assert [p.settings for p in one.grid()] == [{"x": 1, "y": 1}, {"x": 2, "y": 2}]
    with pytest.raises(ConfigError, match="two parameters are called 'size'"):
        space("pipeline: {x: {choice: [1, 2], as: size}, y: {choice: [1, 3], as: size}}")


def test_what_comes_to_the_same_is_tried_once() -> None:
    assert settings("pipeline: {a: {choice: [{b: 1}, {b: {choice: [1, 2]}}]}}") == [{"a": {"b": 1}}, {"a": {"b": 2}}]


def test_labels_are_short_and_tell_options_apart() -> None:
    assert labels(["dense", ["dense", "bm25"], None, [], 3, True][:3]) == ("dense", "dense+bm25", None)
    assert labels([{"use": "fixed", "n": 1}, {"use": "sage"}]) == ("fixed", "sage")
    assert labels([{"use": "fixed", "n": 1}, {"use": "fixed", "n": 2}]) == ("fixed(n=1)", "fixed(n=2)")
    with pytest.raises(ConfigError, match="'fixed' stands twice"):
        labels([{"use": "fixed"}, {"use": "fixed"}])


def test_numbers() -> None:
    assert values(domain({"range": [20, 100], "step": 20})) == (20, 40, 60, 80, 100)
    assert values(domain({"range": [1, 3]})) == (1, 2, 3)
    assert values(domain({"range": [0.0, 1.0], "step": 0.25})) == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert values(domain({"log_range": [5, 80], "points": 5})) == (5, 10, 20, 40, 80)
    assert values(domain({"range": [0.0, 1.0], "points": 3})) == (0.0, 0.5, 1.0)
    assert domain({"log_range": [0.1, 10]}) == Range(0.1, 10, 0, True)
    assert domain({"choice": [1]}) == Choice((1,), (1,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{choice: []}", "an empty choice: there is nothing to try"),
        ("{choice: 3}", "choice takes a list, got 3"),
        ("{range: [3, 1]}", "an empty range: 3 is not below 1"),
        ("{range: [1, x]}", "range takes two numbers"),
        ("{log_range: [0, 1]}", "a log_range begins above 0, got 0"),
        ("{log_range: [1, 9], step: 2}", "a log_range has no step"),
        ("{range: [1, 9], points: 1}", "points is a whole number from 2"),
        ("{choice: [1], step: 2}", "'step' does not belong to a choice"),
        ("{range: [0.5, 1.5]}", "a grid cannot try every value of"),
    ],
)
def test_what_cannot_be_searched_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        list(space(f"pipeline:\n  a: {text}").grid())
    if "grid" not in said:
        assert str(error.value).startswith("study.yaml:2:6: ")
        assert isinstance(error.value, ConfigErrors)


@given(st.integers(1, 50), st.integers(1, 60), st.integers(1, 9))
def test_a_range_has_every_value_from_low_to_high(low: int, more: int, step: int) -> None:
    found = values(Range(low, low + more, step))
    assert found == tuple(range(low, low + more + 1, step))


@given(st.floats(0.01, 10), st.floats(1.1, 100), st.integers(2, 20))
def test_log_points_rise_by_one_factor(low: float, factor: float, points: int) -> None:
    found = [float(v) for v in values(domain({"log_range": [low, low * factor], "points": points}))]  # type: ignore[arg-type]
    assert math.isclose(found[0], low, rel_tol=1e-5)
    assert math.isclose(found[-1], low * factor, rel_tol=1e-5)
    steps = [math.log(b / a) for a, b in pairwise(found)]
    assert max(steps) - min(steps) < 1e-4


NAMES = {"segment.size": 0, "segment.overlap": 0, "refine": 0}


@pytest.mark.parametrize(
    ("text", "params", "holds"),
    [
        ("segment.overlap < segment.size", {"segment.overlap": 1, "segment.size": 2}, True),
        ("segment.overlap < segment.size", {"segment.overlap": 2, "segment.size": 2}, False),
        ("segment.overlap < segment.size", {"segment.size": 2}, True),
        ("segment.size >= 50", {"segment.size": 49.5}, False),
        ("refine == none or segment.size > 5", {"refine": None, "segment.size": 1}, True),
        ("refine == none or segment.size > 5", {"refine": "mmr", "segment.size": 1}, False),
        ("refine != 'mmr'", {"refine": "mmr"}, False),
    ],
)
def test_constraints(text: str, params: dict[str, Any], holds: bool) -> None:
    assert Constraint.parse(text, NAMES).holds(params) is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [("nothing", "compares nothing"), ("segment.siz < 3", "names no parameter"), ("__import__('os') == 1", "names no")],
)
def test_constraints_that_are_none(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Constraint.parse(text, NAMES)


def test_places_lead_back_to_the_file() -> None:
    one = space("pipeline:\n  a: 1\n  s:\n    choice:\n      - {use: x}\n      - {use: y, n: {choice: [5]}}\n")
    resolved = one.first(s="y")
    source = one.translated(resolved)
    assert source.data == {"a": 1, "s": {"use": "y", "n": 5}}
    assert source.where(("s", "use")) == "study.yaml:6:15"
    assert source.where(("s", "n")) == "study.yaml:6:31"
