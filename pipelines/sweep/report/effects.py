"""Main effects: the mean of a metric at each level of a parameter, and what the level changes, all else being equal."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fovea.pipelines.evaluation.measurements import interval
from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.levels import dependents, levels, ordered
from fovea.pipelines.sweep.report.ranking import baseline, by_question, value, varied


@dataclass(frozen=True)
class Effect:
    """One level of one parameter."""

    parameter: str
    level: str
    trials: int
    mean: float
    """Of the trials of this level, whatever else they are."""
    reference: bool
    """Whether this is the level that the others are compared with: the baseline's, or else the first."""
    pairs: int = 0
    """How many settings of all other parameters were tried with this level and with the reference."""
    difference: float | None = None
    """This level less the reference, the mean over those pairs; None without any."""
    low: float | None = None
    high: float | None = None
    """95 % bootstrap interval over questions, None where the metric has no values by question."""


def effects(record: Record, metric: str) -> dict[str, list[Effect]]:
    """By parameter that varies, its levels.

    The difference of a level from the reference is taken between trials whose other parameters are all the same.
    Parameters that are there or not by the choice of this one (a threshold that one segmenter has) cannot be the same,
    and are averaged over. For each question the differences are averaged over the pairs, and the interval is that of
    the mean over questions: trials are repeatable, the questions are the sample.
    """
    trials = [trial for trial in record.complete if value(trial, metric) is not None]
    if not trials:
        return {}
    questions = _matrix(trials, metric)
    return {name: _of(record, trials, name, metric, questions) for name in varied(trials)}


def _of(record: Record, trials: list[TrialRecord], name: str, metric: str, by: np.ndarray | None) -> list[Effect]:
    found = levels(trials, name)
    names = ordered(trials, name, found)
    base = baseline(record)
    reference = found[trials.index(base)] if base in trials else None
    reference = reference or names[0]
    means = np.array([value(trial, metric) for trial in trials], np.float64)
    settings = _others(trials, name)
    table = means[:, None] if by is None else by
    ours = _grouped(table, settings, [level == reference for level in found])
    made = []
    for level in names:
        here = np.array([one == level for one in found])
        effect = Effect(name, level, int(here.sum()), float(means[here].mean()), level == reference)
        if level != reference:
            effect = _compared(effect, _grouped(table, settings, here) - ours, with_interval=by is not None)
        made.append(effect)
    return made


def _compared(effect: Effect, differences: np.ndarray, *, with_interval: bool) -> Effect:
    """With the differences `(settings, questions)`, NaN where one side was not tried or has no value."""
    pairs = int((~np.isnan(differences)).any(1).sum())
    if not pairs:
        return effect
    by_question = _mean(differences)
    by_question = by_question[~np.isnan(by_question)]
    mean, low, high = interval(by_question) if with_interval else (float(by_question.mean()), None, None)
    around = (None, None) if low is None or np.isnan(low) else (low, high)
    return replace(effect, pairs=pairs, difference=mean, low=around[0], high=around[1])


def _matrix(trials: Sequence[TrialRecord], metric: str) -> np.ndarray | None:
    """Values `(trials, questions)`, NaN where there is none; None where there are none at all."""
    rows = [by_question(trial, metric) for trial in trials]
    places = {question: at for at, question in enumerate(dict.fromkeys(q for row in rows for q in row))}
    if not places:
        return None
    made = np.full((len(trials), len(places)), np.nan)
    for at, row in enumerate(rows):
        made[at, [places[question] for question in row]] = list(row.values())
    return made


def _others(trials: Sequence[TrialRecord], name: str) -> np.ndarray:
    """A number for what the other parameters are, by trial."""
    apart = {name, *dependents(trials, name)}
    keys: dict[Hashable, int] = {}
    made = []
    for trial in trials:
        key = frozenset((k, type(v), v) for k, v in trial.params.items() if k not in apart)
        made.append(keys.setdefault(key, len(keys)))
    return np.array(made)


def _grouped(table: np.ndarray, settings: np.ndarray, here: Sequence[bool] | np.ndarray) -> np.ndarray:
    """Means `(settings, questions)` of the rows that are here, NaN where there is nothing."""
    rows, groups = table[np.asarray(here)], settings[np.asarray(here)]
    shape = (int(settings.max()) + 1, table.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, groups, np.nan_to_num(rows))
    np.add.at(counts, groups, ~np.isnan(rows))
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _mean(table: np.ndarray) -> np.ndarray:
    """Means of the columns, NaN where there is nothing."""
    counts = (~np.isnan(table)).sum(0)
    return np.where(counts > 0, np.nansum(table, axis=0) / np.maximum(counts, 1), np.nan)
