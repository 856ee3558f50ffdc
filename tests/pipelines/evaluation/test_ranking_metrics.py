"""Ranking measures against a plain oracle, ties, and tests of significance against counting everything."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.ranking_metrics import NAMES, holm, randomisation_p, scores

pytest.importorskip("ir_measures", reason="needs fovea-rag[bench]")


def oracle(measure, ranked, relevant):
    """The definitions, one question at a time."""
    name, cut = measure.split("@")
    gains = np.array([relevant.get(key, 0) for key in ranked[: int(cut)]], float)
    places = np.flatnonzero(gains > 0)
    if name == "R":
        return len(places) / len(relevant)
    if name == "MRR":
        return 1 / (places[0] + 1) if len(places) else 0.0
    best = np.sort(np.array(list(relevant.values()), float))[::-1][: int(cut)]
    return float(gains @ (1 / np.log2(np.arange(len(gains)) + 2)) / (best @ (1 / np.log2(np.arange(len(best)) + 2))))


def test_measures_are_those_of_the_oracle():
    rng = np.random.default_rng(0)
    ranked, relevant = [], []
    for _ in range(100):
        keys = [f"c{i}" for i in rng.permutation(40)]
        ranked.append(keys[: int(rng.integers(0, 25))])
        relevant.append({f"c{i}": int(rng.integers(1, 4)) for i in rng.choice(40, int(rng.integers(1, 14)), False)})
    found = scores(ranked, relevant, needed_by="tests")
    assert list(found) == list(NAMES)
    for measure, values in found.items():
        expected = [oracle(measure, r, g) for r, g in zip(ranked, relevant)]
        np.testing.assert_allclose(values, expected, rtol=0, atol=1e-9, err_msg=measure)
        assert 0 < values.mean() < 1


def test_the_order_given_counts_whatever_the_names_are():
    for first, second in (("a", "b"), ("b", "a")):
        found = scores([[first, second]], [{first: 1}], needed_by="tests")
        assert found["R@1"][0] == found["MRR@10"][0] == found["nDCG@10"][0] == 1
    assert scores([[]], [{"a": 1}], needed_by="tests")["nDCG@10"][0] == 0, "nothing found is nothing"


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), min_size=1, max_size=8))
def test_randomisation_is_near_the_exact_share_of_signs(differences):
    values = np.array(differences)
    sums = [abs(np.array(signs) @ values) for signs in product((-1, 1), repeat=len(values))]
    exact = np.mean([s >= abs(values.sum()) - 1e-9 for s in sums])
    assert abs(randomisation_p(values) - exact) < 0.03
    assert randomisation_p(values) == randomisation_p(values)


def test_randomisation_without_and_with_a_difference():
    assert randomisation_p(np.zeros(50)) == 1
    assert randomisation_p(np.full(50, 0.1)) == pytest.approx(1 / 10_001)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []
