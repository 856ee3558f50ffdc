"""Segmentation metrics: by hand, and their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.segmentation_metrics import (
    boundary_scores,
    boundary_similarity,
    pk,
    window,
    window_diff,
)
from fovea.rag.errors import QueryError


def bounds(text):
    return np.array([c == "|" for c in text])


def test_by_hand():
    true, found = bounds("..|..|.."), bounds("..|.....")
    # 9 units, segments of 3: k is 2 (1.5 rounds to even), 7 windows of 2 gaps; gap 5 lies in those that begin at 4, 5.
    assert window(true) == 2
    assert pk(true, found) == pytest.approx(2 / 7)
    assert window_diff(true, found) == pytest.approx(2 / 7)
    assert boundary_similarity(true, found) == pytest.approx(1 / 2)
    assert boundary_scores(true, found) == pytest.approx((1, 1 / 2, 2 / 3))


def test_two_boundaries_in_a_window_are_seen_by_window_diff_alone():
    true, found = bounds("..|......"), bounds("..||.....")
    assert window(true) == 2
    assert pk(true, found) == pytest.approx(1 / 8), "only the window of gaps 3 and 4 has none on one side"
    assert window_diff(true, found) == pytest.approx(2 / 8)


def test_near_misses():
    true, found = bounds("..|....|.."), bounds("...|.....|")
    assert boundary_similarity(true, found) == pytest.approx(1 - (2 + 1 / 2) / 3), "one pair, two left over"
    assert boundary_similarity(true, found, 3) == pytest.approx(1 - (1 / 3 + 2 / 3) / 2)
    assert boundary_scores(true, found).f1 == 0
    assert boundary_scores(true, found, 1) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert boundary_scores(true, found, 2).f1 == 1
    assert boundary_scores(bounds(".|."), bounds("|.|"), 1) == pytest.approx((1 / 2, 1, 2 / 3)), "one to one"


@pytest.mark.parametrize(("units", "cuts", "k"), [(10, 0, 5), (10, 1, 2), (6, 0, 3), (7, 0, 4), (5, 0, 2), (9, 8, 2)])
def test_the_window_is_rounded_half_to_even(units, cuts, k):
    assert window(np.arange(units - 1) < cuts) == k


def test_what_has_no_boundary():
    none, one = bounds("...."), bounds(".|..")
    assert boundary_similarity(none, none) == 1
    assert boundary_scores(none, none) == (1, 1, 1)
    assert boundary_scores(one, none) == (1, 0, 0)
    assert boundary_scores(none, one) == (0, 1, 0)


def test_a_text_too_short_for_a_window():
    for measure in (pk, window_diff):
        assert measure(bounds("|"), bounds("|")) == 0
        assert measure(bounds("."), bounds(".")) == 0
        assert measure(bounds("|"), bounds(".")) == 1
        assert measure(bounds("..|"), bounds("..."), 9) == 1


@pytest.mark.parametrize("measure", [pk, window_diff, boundary_similarity, boundary_scores])
def test_what_cannot_be_measured_is_an_error(measure):
    with pytest.raises(QueryError, match="no gaps"):
        measure(bounds(""), bounds(""))
    with pytest.raises(QueryError, match="one length"):
        measure(bounds("..."), bounds("...."))
    with pytest.raises(QueryError, match="window of 0"):
        pk(bounds("..."), bounds("..."), 0)


@st.composite
def pairs(draw):
    gaps = draw(st.integers(1, 59))
    dense = draw(st.sampled_from([(False, True), (False, False, False, False, True), (True, True, False)]))
    line = st.lists(st.sampled_from(dense), min_size=gaps, max_size=gaps).map(lambda found: np.array(found, bool))
    return draw(line), draw(line)


@given(pairs())
def test_invariants(pair):
    true, found = pair
    for measure in (pk, window_diff):
        assert measure(true, true) == 0
        assert 0 <= measure(true, found) <= 1
        assert measure(true[::-1], found[::-1]) == pytest.approx(measure(true, found)), "read backwards"
    assert pk(true, found) <= window_diff(true, found) + 1e-12
    assert boundary_similarity(true, true) == 1
    assert boundary_similarity(true, found) == boundary_similarity(found, true)
    exact, near = boundary_scores(true, found), boundary_scores(true, found, 1)
    assert exact.f1 <= near.f1 + 1e-12
    assert exact.f1 >= boundary_similarity(true, found, 1) - 1e-12, "Jaccard is under F1"
    swapped = boundary_scores(found, true, 1)
    assert (swapped.precision, swapped.recall) == (near.recall, near.precision)


def best_matching(true, found, within):
    """The largest matching there is, by trying: the oracle of the walk that `boundary_scores` takes."""
    if not true:
        return 0
    head, rest = true[0], true[1:]
    takes = [1 + best_matching(rest, found[:i] + found[i + 1 :], within)
             for i, f in enumerate(found) if abs(f - head) <= within]  # fmt: skip
    return max([best_matching(rest, found, within), *takes])


@given(st.sets(st.integers(0, 9), max_size=5), st.sets(st.integers(0, 9), max_size=5), st.integers(0, 3))
def test_the_matching_is_the_largest(true, found, within):
    scores = boundary_scores(np.isin(np.arange(10), list(true)), np.isin(np.arange(10), list(found)), within)
    if true:
        assert round(scores.recall * len(true)) == best_matching(sorted(true), sorted(found), within)
