"""Tests of significance against those of scipy."""

import numpy as np
import pytest

from fovea.pipelines.sweep.report.significance import difference
from tests.sweep_records import trial


def test_against_two_tests_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    a, b = rng.random(30), rng.random(30) + 0.1
    ours = difference(trial(1, a), trial(0, b), "nDCG@10")
    theirs = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=9999, rng=2
    )
    assert ours.p == pytest.approx(theirs.pvalue, abs=0.02)
    low, high = stats.bootstrap((a - b,), np.mean, method="percentile", rng=3).confidence_interval
    assert (ours.low, ours.high) == (pytest.approx(low, abs=0.02), pytest.approx(high, abs=0.02))
