"""Segmentation metrics against segeval."""

import warnings

import numpy as np
import pytest
from hypothesis import given

from fovea.pipelines.evaluation.segmentation_metrics import boundary_similarity, pk, window, window_diff
from tests.pipelines.evaluation.test_segmentation_metrics import pairs


def masses(boundaries):
    edges = [0, *(np.flatnonzero(boundaries) + 1).tolist(), len(boundaries) + 1]
    return tuple(int(mass) for mass in np.diff(edges))


def random_pairs(how_many):
    """Pairs of 2 to 60 segments, as numbers drawn with a seed."""
    rng = np.random.default_rng(7)
    for _ in range(how_many):
        gaps = int(rng.integers(60, 200))
        yield tuple(np.isin(np.arange(gaps), rng.choice(gaps, int(rng.integers(1, 60)), replace=False)) for _ in "ab")


@pytest.fixture(scope="module")
def segeval():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("segeval", reason='the oracle: pip install -e ".[dev]"')


def agrees(segeval, true, found):
    a, b = masses(true), masses(found)
    k = segeval.compute_window_size(a)
    assert window(true) == k
    if len(true) + 1 > k:
        assert pk(true, found) == pytest.approx(float(segeval.pk(b, a)), abs=1e-9)
        assert window_diff(true, found) == pytest.approx(float(segeval.window_diff(b, a)), abs=1e-9)
    if true.any() or found.any():  # It has no answer where neither has a boundary.
        for n_t in (2, 3, 5):
            expected = float(segeval.boundary_similarity(b, a, n_t=n_t))
            assert boundary_similarity(true, found, n_t) == pytest.approx(expected, abs=1e-9)


def test_segeval_agrees_on_random_cases(segeval):
    for true, found in random_pairs(200):
        agrees(segeval, true, found)


def test_segeval_agrees_on_any_case(segeval):
    given(pairs())(lambda pair: agrees(segeval, *pair))()
