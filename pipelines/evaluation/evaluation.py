"""Evaluation: the outcomes of all questions, and what they come to. `values_of` and `failures_of` take any outcomes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fovea.pipelines.evaluation.gold import QuestionSet
from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Value, means
from fovea.rag.errors import DocumentError
from fovea.rag.training.files import json_lines, malformed
from fovea.rag.write_whole import write_whole


@dataclass(frozen=True)
class Evaluation:
    """What came of every question of a set."""

    questions: QuestionSet
    """Their gold under the ids of the documents."""
    outcomes: tuple[Outcome, ...]
    metrics: tuple[str, ...]
    seconds: float = 0.0
    warnings: Mapping[str, int] = field(default_factory=dict)
    """What stages warned of over all questions, with how often."""

    def values(self) -> dict[str, Value]:
        """By metric, its mean with the interval, of how many questions; one that no question gave is not there."""
        return values_of(self.outcomes, self.questions, self.metrics)

    def failures(self) -> Counter[str]:
        """How often each reason made a question fail, or a metric of it missing."""
        return failures_of(self.outcomes)

    @property
    def failed(self) -> int:
        """Questions that failed, or lack a metric that applies to them."""
        return sum(1 for outcome in self.outcomes if failures_of([outcome]))

    def passes(self, max_failures: int = 0) -> bool:
        """Whether no more questions than that failed."""
        return self.failed <= max_failures

    def latency(self) -> dict[str, tuple[float, float]]:
        """By stage, the median and the 95th percentile of its seconds, over the questions that ran it."""
        import numpy as np

        spent: dict[str, list[float]] = {}
        for outcome in self.outcomes:
            for stage, seconds in outcome.seconds.items() if not outcome.failed else ():
                spent.setdefault(stage, []).append(seconds)
        order = [stage for stage in spent if stage != "total"] + [stage for stage in spent if stage == "total"]
        return {s: (float(np.quantile(spent[s], 0.5)), float(np.quantile(spent[s], 0.95))) for s in order}


def values_of(outcomes: Sequence[Outcome], questions: QuestionSet, metrics: Iterable[str]) -> dict[str, Value]:
    """By metric, the mean over the outcomes that have it, of as many questions as it applies to. Failed questions are
    in `of` and in no mean; a metric that no outcome has is left out.
    """
    by_id = {q.id: q for q in questions.questions}
    asked = [by_id[outcome.question] for outcome in outcomes]
    of = {name: sum(map(metric(name).applies, asked)) for name in metrics}
    columns = {name: [o.scores[name] for o in outcomes if name in o.scores] for name in of}
    return means(columns, of)


def failures_of(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Reasons why questions failed, or lack a metric that applies to them, with their number."""
    found: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.failed:
            found[outcome.failed] += 1
        found.update(f"{name}: {why}" for name, why in outcome.missing.items())
    return found


def write_outcomes(path: Path, evaluation: Evaluation) -> None:
    """A line of JSON a question: what was asked, what came back, every score; `read_outcomes` reads it."""
    asked = {q.id: q.text for q in evaluation.questions.questions}
    lines = [
        json.dumps({"text": asked[o.question], **o.to_dict()}, ensure_ascii=False, allow_nan=False)
        for o in evaluation.outcomes
    ]
    write_whole(path, lambda part: part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8"))


_OUTCOME = TypeAdapter(Outcome)


def read_outcomes(path: Path) -> list[Outcome]:
    """The outcomes of a file that `write_outcomes` made; raises DocumentError with the line for what is none."""
    if not path.exists():
        raise DocumentError("there is no such file", where=str(path), fix="fovea eval ... --out DIR writes it")
    found = [_outcome(where, row) for where, row in json_lines(path)]
    if not found:
        raise DocumentError("no outcomes", where=str(path), fix="fovea eval ... --out DIR writes them")
    return found


def _outcome(where: str, row: Any) -> Outcome:
    if isinstance(row, dict) and not row.get("content"):
        what = "an outcome that does not say what was asked"
        raise DocumentError(what, where=where, fix="write it anew: fovea eval ... --out DIR")
    try:
        outcome = Outcome.from_dict({k: v for k, v in _mapping(row).items() if k != "text"})
        return _OUTCOME.validate_python(vars(outcome))
    except ValidationError as error:
        wrong = error.errors()[0]
        place, got = ".".join(map(str, wrong["loc"])), repr(wrong["input"])[:60]
        raise malformed(where, f"no outcome of an evaluation: {place}: {wrong['msg']}, got {got}") from None
    except (TypeError, KeyError, ValueError) as error:
        raise malformed(where, f"no outcome of an evaluation: {type(error).__name__}: {error}") from None


def _mapping(row: Any) -> Mapping[str, Any]:
    if not isinstance(row, dict):
        raise TypeError(f"expected an object, got {type(row).__name__}")
    return row
