"""Which trials are ranked and in what order, and what a trial measured of a metric, over all and by question."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.record import Direction, Record, TrialRecord

COSTS = ("seconds", "tokens_passages")
"""Metrics that a picture sets quality against, where they are measured."""
BESIDE = ("coverage", *COSTS)
"""What is shown beside the objectives, where it is measured."""
Param = str | int | float | bool | None


def direction(record: Record, metric: str) -> Direction:
    """Where better is: as the objective says; of a metric that is none, seconds, tokens and cost are to be small."""
    small = metric.partition("_")[0] in ("seconds", "tokens", "cost")
    return record.objectives.get(metric) or ("minimise" if small else "maximise")


def value(trial: TrialRecord, metric: str) -> float | None:
    """The mean, None where the metric was not measured or is not a finite number."""
    found = trial.values.get(metric)
    return found.mean if found is not None and isfinite(found.mean) else None


def ranked(record: Record) -> list[TrialRecord]:
    """The complete trials that have the first objective, best first.

    Trials that are equal in it stand in the order of the next objectives (one without a value last), then of their
    numbers.
    """
    if not record.objectives:
        return []

    def key(trial: TrialRecord) -> tuple[float, ...]:
        return (*(_rising(value(trial, m), d) for m, d in record.objectives.items()), trial.number)

    return sorted((t for t in record.complete if value(t, first(record)) is not None), key=key)


def _rising(found: float | None, towards: Direction) -> float:
    return float("inf") if found is None else -found if towards == "maximise" else found


def first(record: Record) -> str:
    """The first objective, "" where a study has none."""
    return next(iter(record.objectives), "")


def winner(record: Record) -> TrialRecord | None:
    """The first of the ranked trials."""
    return next(iter(ranked(record)), None)


def baseline(record: Record) -> TrialRecord | None:
    """The trial that differences are taken against, None where there is none or it is not complete."""
    return next((trial for trial in record.complete if trial.id == record.baseline), None)


def metrics(record: Record) -> list[str]:
    """Every metric that a complete trial measured: the objectives first, what is shown beside them next, the others by
    their first use."""
    seen = dict.fromkeys(m for trial in record.complete for m in trial.values)
    return [m for m in dict.fromkeys([*record.objectives, *BESIDE, *seen]) if m in seen]


def by_question(trial: TrialRecord, metric: str) -> dict[str, float]:
    """The metric by the question's id. A failed question is left out, and one that lacks the metric.

    `seconds` is the time of all stages of a question and `tokens_X` its tokens `X`, where no score has that name.
    """
    found = ((o.question, _score(o, metric)) for o in trial.outcomes if not o.failed)
    return {question: score for question, score in found if score is not None and isfinite(score)}


def _score(outcome: Outcome, metric: str) -> float | None:
    if metric in outcome.scores:
        return outcome.scores[metric]
    if metric == "seconds":
        return outcome.seconds.get("total")
    kind, _, what = metric.partition("_")
    return outcome.tokens.get(what) if kind == "tokens" else None


def same(one: Param, other: Param) -> bool:
    """Whether two choices are one: `True` and `1` are two."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def varied(trials: Iterable[TrialRecord]) -> list[str]:
    """The parameters that are not the same everywhere, by their first use; one that is missing somewhere is among
    them."""
    trials = list(trials)
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [n for n in names if not all(n in t.params and same(t.params[n], trials[0].params.get(n)) for t in trials)]


def changes(trial: TrialRecord, other: TrialRecord | None, names: Sequence[str] = ()) -> list[str]:
    """What differs from the other trial, a line a parameter: `size 200 → 400`; without another one what `names` are."""
    if other is None:
        return [f"{n} {show(trial.params[n])}" for n in names if n in trial.params]
    lines = []
    for name in dict.fromkeys([*other.params, *trial.params]):
        if name not in trial.params:
            lines.append(f"no {name}")
        elif name not in other.params:
            lines.append(f"{name} {show(trial.params[name])}")
        elif not same(trial.params[name], other.params[name]):
            lines.append(f"{name} {show(other.params[name])} → {show(trial.params[name])}")
    return lines


def show(choice: Param) -> str:
    """A choice as people write it: as in YAML, and a number with six digits at most."""
    if choice is None or isinstance(choice, bool):
        return {None: "none", True: "true", False: "false"}[choice]
    return f"{choice:.6g}" if isinstance(choice, float) else str(choice)


def cached(trial: TrialRecord) -> tuple[int, int]:
    """How many stages were found in the cache, of how many."""
    return sum(found for _, found in trial.stages.values()), sum(a + b for a, b in trial.stages.values())
