"""Compare two evaluations question by question: paired differences, with intervals and tests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Value, means
from fovea.rag.errors import ConfigError


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


def compare(before: Sequence[Outcome], after: Sequence[Outcome], metrics: Iterable[str]) -> list[Difference]:
    """The differences, metric by metric; one that no question has in both is left out.

    `of` is the number of questions that both were asked. Raises ConfigError where that is none. O(10,000 * questions)
    a metric.
    """
    import numpy as np

    from fovea.pipelines.evaluation.ranking_metrics import holm, randomisation_p

    first = {o.question: o for o in before}
    pairs = [(first[o.question], o) for o in after if o.question in first]
    if not pairs:
        raise ConfigError("the two evaluations have no question in common", where="--against")
    both = {m: [(a.scores[m], b.scores[m]) for a, b in pairs if m in a.scores and m in b.scores] for m in metrics}
    table = {m: np.array(rows) for m, rows in both.items() if rows}
    moved = {m: rows[:, 1] - rows[:, 0] for m, rows in table.items()}
    values = means({m: list(d) for m, d in moved.items()}, dict.fromkeys(moved, len(pairs)), shares=False)
    p = [randomisation_p(d) for d in moved.values()]
    return [
        Difference(m, float(table[m][:, 0].mean()), float(table[m][:, 1].mean()), values[m], p[i], corrected)
        for i, (m, corrected) in enumerate(zip(moved, holm(p)))
    ]
