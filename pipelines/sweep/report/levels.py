"""The levels of a parameter: its choices, or five bins of a number of many values; and which parameter needs which."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from fovea.pipelines.sweep.record import TrialRecord
from fovea.pipelines.sweep.report.ranking import Param, show

MOST, BINS = 8, 5
"""A number of more values than MOST is cut into BINS bins of equally many trials, as far as equal values allow."""


def levels(trials: Sequence[TrialRecord], name: str) -> list[str | None]:
    """The level of the parameter by trial, None where it is not there."""
    there = [trial.params[name] for trial in trials if name in trial.params]
    if _numeric(there) and len(set(there)) > MOST:
        return _binned(trials, name, np.array(there, np.float64))
    labels = _labels(there)
    return [labels[_key(trial.params[name])] if name in trial.params else None for trial in trials]


def ordered(trials: Sequence[TrialRecord], name: str, found: Sequence[str | None]) -> list[str]:
    """The levels that are there: of numbers rising, of others by their first use."""
    seen: dict[str, Param] = {}
    for trial, level in zip(trials, found):
        if level is not None:
            seen.setdefault(level, trial.params[name])
    return sorted(seen, key=lambda level: seen[level]) if _numeric(seen.values()) else list(seen)  # type: ignore


def dependents(trials: Sequence[TrialRecord], name: str) -> set[str]:
    """The parameters that are there or not by the choice of this one.

    Each is missing somewhere, and all trials of one level of `name` either have it or lack it. Of two parameters that
    are always there together, neither depends on the other.
    """
    found = levels(trials, name)
    others = dict.fromkeys(other for trial in trials for other in trial.params if other != name)
    has = [name in trial.params for trial in trials]
    return {o for o in others if _decides(found, there := [o in t.params for t in trials]) and there != has}


def _decides(found: Sequence[str | None], there: Sequence[bool]) -> bool:
    by_level: dict[str | None, set[bool]] = {}
    for level, is_there in zip(found, there):
        by_level.setdefault(level, set()).add(is_there)
    return not all(there) and all(len(seen) == 1 for seen in by_level.values())


def _numeric(choices: object) -> bool:
    return all(isinstance(c, int | float) and not isinstance(c, bool) for c in choices)  # type: ignore[attr-defined]


def _key(choice: Param) -> tuple[str, Param]:
    return type(choice).__name__, choice


def _labels(there: Sequence[Param]) -> dict[tuple[str, Param], str]:
    """A label of each choice; of choices that would read the same, such as 1 and "1", as Python writes them."""
    keys = dict.fromkeys(map(_key, there))
    shown = [show(choice) for _, choice in keys]
    return {key: label if shown.count(label) == 1 else repr(key[1]) for key, label in zip(keys, shown)}


def _binned(trials: Sequence[TrialRecord], name: str, there: np.ndarray) -> list[str | None]:
    edges = np.unique(np.quantile(there, np.linspace(0, 1, BINS + 1), method="higher"))
    bins = np.digitize(there, edges[1:-1])
    spans = [(float(there[bins == b].min()), float(there[bins == b].max())) for b in np.unique(bins)]
    labels = iter([_span(spans, float(x)) for x in there])
    return [next(labels) if name in trial.params else None for trial in trials]


def _span(spans: Sequence[tuple[float, float]], x: float) -> str:
    low, high = next((low, high) for low, high in spans if low <= x <= high)
    digits = 3 if all(f"{a[1]:.3g}" != f"{b[0]:.3g}" for a, b in pairwise(spans)) else 6
    return f"{low:.{digits}g} to {high:.{digits}g}" if low < high else f"{low:.{digits}g}"
