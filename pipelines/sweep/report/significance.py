"""Differences of two trials, question by question: how large, how sure, and whether chance would do the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fovea.pipelines.evaluation.measurements import interval
from fovea.pipelines.evaluation.ranking_metrics import holm, randomisation_p
from fovea.pipelines.sweep.record import Direction, TrialRecord
from fovea.pipelines.sweep.report.ranking import by_question

LEVEL = 0.05
"""A corrected p below it is called significant."""


@dataclass(frozen=True)
class Difference:
    """`trial` less `other` in one metric, over the questions that both have a value for."""

    trial: TrialRecord
    other: TrialRecord
    metric: str
    questions: tuple[str, ...]
    """Ids, in the order of the study."""
    values: np.ndarray
    """By question, `(n,)`."""
    left_out: int
    """Questions that were asked of either, where one of the two has no value."""
    mean: float
    low: float
    high: float
    """95 % bootstrap interval of the mean, NaN where the differences do not vary."""
    p: float
    """Of Fisher's randomisation test."""
    corrected: float
    """p after Holm's correction for the number of trials that were tested together."""

    @property
    def significant(self) -> bool:
        """Whether chance alone would seldom do it."""
        return self.corrected < LEVEL

    def counts(self, towards: Direction) -> tuple[int, int, int]:
        """Questions won, lost and tied."""
        up, down = int((self.values > 0).sum()), int((self.values < 0).sum())
        won, lost = (up, down) if towards == "maximise" else (down, up)
        return won, lost, len(self.values) - up - down


def difference(trial: TrialRecord, other: TrialRecord, metric: str) -> Difference | None:
    """One difference, tested by itself; None where no question has a value of both. O(10,000 * n)."""
    ours, theirs = by_question(trial, metric), by_question(other, metric)
    both = [question for question in ours if question in theirs]
    if not both:
        return None
    values = np.array([ours[q] - theirs[q] for q in both])
    asked = {o.question for o in (*trial.outcomes, *other.outcomes)}
    mean, low, high = interval(values)
    p = randomisation_p(values)
    return Difference(trial, other, metric, tuple(both), values, len(asked) - len(both), mean, low, high, p, p)


def against(trials: Sequence[TrialRecord], other: TrialRecord, metric: str) -> dict[str, Difference]:
    """By the id of the trial, its difference from the other one; `other` itself is not tested, nor is a trial that has
    no question in common with it. Corrected for their number."""
    tested = [difference(trial, other, metric) for trial in trials if trial.id != other.id]
    found = [d for d in tested if d is not None]
    return {d.trial.id: replace(d, corrected=p) for d, p in zip(found, holm([d.p for d in found]))}
