"""Paired differences of trials."""

from __future__ import annotations

from dataclasses import replace
from math import isnan

import numpy as np
import pytest

from fovea.pipelines.sweep.report.significance import against, difference
from tests.sweep_records import trial


def test_by_hand():
    found = difference(trial(1, [1, 1, 0, 0.5]), trial(0, [0, 1, 0, 0]), "nDCG@10")
    assert found.values.tolist() == [1, 0, 0, 0.5]
    assert found.questions == ("q0", "q1", "q2", "q3")
    assert found.mean == 0.375
    assert found.low <= 0.375 <= found.high
    assert found.p == pytest.approx(0.5, abs=0.02), "two of the four ways to give signs to 1 and 0.5 sum to 1.5 or -1.5"
    assert found.corrected == found.p
    assert found.counts("maximise") == (2, 0, 2)
    assert found.counts("minimise") == (0, 2, 2)
    assert not found.significant


def test_questions_that_either_lacks_are_left_out_and_counted():
    a, b = trial(1, [1, 1, 1, 1]), trial(0, [0, 0, 0, 0])
    a = replace(a, outcomes=(*a.outcomes[:1], replace(a.outcomes[1], failed="it hung"), *a.outcomes[2:]))
    b = replace(b, outcomes=b.outcomes[:3])
    found = difference(a, b, "nDCG@10")
    assert found.questions == ("q0", "q2")
    assert found.left_out == 2


def test_nothing_in_common():
    assert difference(trial(1, 0.5), trial(0, [1]), "nDCG@10") is None
    assert difference(trial(1, [1]), trial(0, [1]), "MRR") is None
    assert against([trial(1, 0.5)], trial(0, [1]), "nDCG@10") == {}


def test_equal_trials_and_one_question():
    same = difference(trial(1, [0.5] * 9), trial(0, [0.5] * 9), "nDCG@10")
    assert (same.mean, same.p) == (0, 1)
    assert isnan(same.low)
    assert isnan(same.high), "what does not vary has no interval"
    one = difference(trial(1, [1]), trial(0, [0]), "nDCG@10")
    assert (one.mean, one.p) == (1, 1), "one question proves nothing"
    assert isnan(one.low)


def test_holm_over_all_that_are_tested_together():
    rng = np.random.default_rng(0)
    base = rng.random(40)
    trials = [trial(0, base), *(trial(i, base + rng.normal(0.02 * (i - 1), 0.1, 40)) for i in range(1, 6))]
    found = against(trials, trials[0], "nDCG@10")
    assert list(found) == [t.id for t in trials[1:]], "a trial is not tested against itself"
    raw = sorted(d.p for d in found.values())
    steps = np.maximum.accumulate([min(1, (5 - i) * p) for i, p in enumerate(raw)])
    assert sorted(d.corrected for d in found.values()) == pytest.approx(steps)
    assert found[trials[5].id].significant
    assert not found[trials[1].id].significant
    alone = difference(trials[4], trials[0], "nDCG@10")
    assert replace(alone, p=0.001, corrected=0.06).significant is False, "the corrected p counts"
