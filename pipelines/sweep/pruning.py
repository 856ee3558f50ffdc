"""Pruning: a trial is given up when another one, on the questions that both have had, is better in every way.

Of two trials with per-question differences d (the rival's score less this one's, signed so that more is better), the
rival is better in an objective if the `level` quantile of the bootstrapped mean of d is over 0. It beats the trial if
it is better in at least one objective and in no other worse on any question. Optuna prunes by one objective only; this
is for any number, in the manner of a paired test (F. Wilcoxon, 1945, is what Optuna's own uses).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Direction

if TYPE_CHECKING:
    import numpy as np

DRAWS = 2000


def beaten_by(
    trial: Sequence[Outcome],
    rivals: Iterable[tuple[str, Sequence[Outcome]]],
    objectives: Mapping[str, Direction],
    level: float,
) -> str | None:
    """The name of a rival that beats the trial on its questions, the first there is. O(rivals * draws * questions)."""
    for name, rival in rivals:
        if len(rival) >= len(trial) and _beats(rival[: len(trial)], trial, objectives, level):
            return name
    return None


def _beats(
    rival: Sequence[Outcome], trial: Sequence[Outcome], objectives: Mapping[str, Direction], level: float
) -> bool:
    better = 0
    for name, direction in objectives.items():
        found = _differences(rival, trial, name)
        gains = found if direction == "maximise" else -found
        if len(gains) == 0 or gains.mean() < 0:
            return False
        if _low(gains, level) > 0:
            better += 1
        elif (gains < 0).any():
            return False
    return better > 0


def _differences(rival: Sequence[Outcome], trial: Sequence[Outcome], name: str) -> np.ndarray:
    import numpy as np

    pairs = [(r.scores.get(name), t.scores.get(name)) for r, t in zip(rival, trial)]
    return np.array([r - t for r, t in pairs if r is not None and t is not None])


def _low(gains: np.ndarray, level: float) -> float:
    import numpy as np

    draw = np.random.default_rng(0).integers(0, len(gains), (DRAWS, len(gains)))
    return float(np.quantile(gains[draw].mean(axis=1), level))
