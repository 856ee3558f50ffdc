"""Compare two evaluations question by question: paired differences, with intervals and tests.

Questions are paired by what they ask and what is right (`Question.content`), not by their ids or places: a file whose
rows were moved, added or taken out compares what both runs were asked, and a question with other gold is no pair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fovea.pipelines.evaluation.gold import QuestionSet
from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Value, means
from fovea.rag.errors import ConfigError
from fovea.rag.printable import counted


@dataclass(frozen=True)
class Paired:
    """Outcomes of the same question before and after, and what has no partner."""

    pairs: tuple[tuple[Outcome, Outcome], ...]
    before: tuple[Outcome, ...]
    """Asked before alone."""
    after: tuple[Outcome, ...]
    """Asked after alone."""

    @property
    def other_gold(self) -> int:
        """How many of those after are asked before too, with other gold."""
        asked = Counter(_asked(outcome) for outcome in self.before)
        return (asked & Counter(_asked(outcome) for outcome in self.after)).total()

    def __str__(self) -> str:
        said = f"{counted(len(self.pairs), 'questions')} paired by content"
        if self.before or self.after:
            said += f"; without a partner {len(self.after)} of this run and {len(self.before)} of that"
        return said + (f", {self.other_gold} of them for other gold" if self.other_gold else "")


def pair(before: Sequence[Outcome], after: Sequence[Outcome]) -> Paired:
    """Each outcome after with one before of the same content, of the same id if there is one; a question that stands
    several times in both is paired as often as both have it. Raises ConfigError where there is no pair.
    """
    left: dict[str, list[Outcome]] = {}
    for outcome in before:
        left.setdefault(outcome.content, []).append(outcome)
    partner: dict[int, Outcome] = {}
    for same_id in (True, False):
        for place, outcome in enumerate(after):
            found = [] if place in partner else left.get(outcome.content, [])
            at = next((i for i, o in enumerate(found) if not same_id or o.question == outcome.question), None)
            if at is not None:
                partner[place] = found.pop(at)
    paired = Paired(
        tuple((partner[place], outcome) for place, outcome in enumerate(after) if place in partner),
        tuple(outcome for found in left.values() for outcome in found),
        tuple(outcome for place, outcome in enumerate(after) if place not in partner),
    )
    if not paired.pairs:
        gold = f"; {paired.other_gold} are asked in both, with other gold" if paired.other_gold else ""
        raise ConfigError(f"the two evaluations have no question in common{gold}", where="--against")
    return paired


def _asked(outcome: Outcome) -> str:
    return outcome.content.partition("-")[0]


@dataclass(frozen=True)
class Difference:
    """One metric of two pipelines, over the questions that have it in both."""

    metric: str
    before: float
    after: float
    difference: Value
    """`after - before`: the mean over questions, with the interval of the mean."""
    p: float
    """Of Fisher's randomisation test."""
    p_holm: float
    """The same, corrected for the number of metrics (Holm)."""


def compare(paired: Paired, metrics: Iterable[str], questions: QuestionSet | None = None) -> list[Difference]:
    """The differences, metric by metric; one that no question has in both is left out.

    `of` is the number of pairs that the metric applies to, told by the `questions` asked after; without them all.
    O(10,000 * questions) a metric.
    """
    import numpy as np

    from fovea.pipelines.evaluation.ranking_metrics import holm, randomisation_p

    pairs = paired.pairs
    both = {m: [(a.scores[m], b.scores[m]) for a, b in pairs if m in a.scores and m in b.scores] for m in metrics}
    table = {m: np.array(rows) for m, rows in both.items() if rows}
    moved = {m: rows[:, 1] - rows[:, 0] for m, rows in table.items()}
    asked = {q.id: q for q in questions.questions} if questions else {}
    to = [asked[after.question] for _, after in pairs if after.question in asked]
    of = {m: sum(map(metric(m).applies, to)) if questions else len(pairs) for m in moved}
    values = means({m: list(d) for m, d in moved.items()}, of, shares=False)
    p = [randomisation_p(d) for d in moved.values()]
    return [
        Difference(m, float(table[m][:, 0].mean()), float(table[m][:, 1].mean()), values[m], p[i], corrected)
        for i, (m, corrected) in enumerate(zip(moved, holm(p)))
    ]
