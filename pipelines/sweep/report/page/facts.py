"""What several parts of the page need, worked out once."""

from __future__ import annotations

from dataclasses import dataclass

from fovea.pipelines.sweep.record import Record, TrialRecord
from fovea.pipelines.sweep.report.figures import Figures
from fovea.pipelines.sweep.report.importance import Importance, importance
from fovea.pipelines.sweep.report.pareto import pareto
from fovea.pipelines.sweep.report.ranking import baseline, first, metrics, ranked, varied
from fovea.pipelines.sweep.report.significance import Difference, against

TESTED = 20
"""How many trials, from the best on, are tested against the best and the baseline."""


@dataclass(frozen=True)
class Facts:
    """A study with at least one ranked trial, or with none and `order` empty."""

    record: Record
    figures: Figures
    metrics: list[str]
    order: list[TrialRecord]
    base: TrialRecord | None
    front: set[str]
    """Ids on the front over all objectives."""
    names: list[str]
    """The parameters that vary."""
    to_best: dict[str, Difference]
    to_base: dict[str, Difference]
    """Of the first objective, by the id of the trial."""
    importances: dict[str, Importance]
    """By objective."""

    @property
    def main(self) -> str:
        """The first objective."""
        return first(self.record)

    @property
    def best(self) -> TrialRecord:
        """The winner."""
        return self.order[0]

    def mark(self, trial: TrialRecord) -> str:
        """What there is to say of a trial in a word."""
        if self.order and trial is self.best:
            return "best"
        return "baseline" if trial is self.base else "front" if trial.id in self.front else ""


def gather(record: Record) -> Facts:
    """The facts of a study."""
    order, base, main = ranked(record), baseline(record), first(record)
    tested = order[:TESTED]
    return Facts(
        record,
        Figures(record),
        metrics(record),
        order,
        base,
        {trial.id for trial in pareto(record)},
        varied(order),
        against(tested, order[0], main) if order else {},
        against(tested, base, main) if base else {},
        {metric: importance(record, metric) for metric in record.objectives} if len(order) > 1 else {},
    )
