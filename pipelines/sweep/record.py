"""TrialRecord and Record: what a study knows when it is asked, as plain data for tables and reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from fovea.pipelines.evaluation.gold import QuestionSet
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.evaluation.value import Direction as Direction
from fovea.pipelines.evaluation.value import Value as Value

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class TrialRecord:
    """One configuration, tried once. Only a complete one is ranked."""

    id: str
    """Sixteen hexadecimal digits: a hash of the resolved settings and of the data."""
    number: int
    state: State
    params: Mapping[str, str | int | float | bool | None]
    """The choices by the name of the parameter; those of stages that are not there are missing."""
    settings: Mapping[str, Any]
    """The resolved pipeline, ready to be written as YAML."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Every metric that was measured, the objectives among them."""
    outcomes: Sequence[Outcome] = ()
    """One a question, in the order of the study, which is the same for all trials; a pruned trial has the first few."""
    reason: str = ""
    """Why it failed or was pruned."""
    seconds: float = 0.0
    """Wall clock of the trial itself, with what it found in the cache."""
    stages: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By stage, how often it was computed and how often found in the cache."""


@dataclass(frozen=True)
class Record:
    """A whole study."""

    name: str
    objectives: Mapping[str, Direction]
    """By metric. The first is what a table is sorted by."""
    trials: Sequence[TrialRecord]
    questions: QuestionSet
    baseline: str | None = None
    """The id of the trial that differences are taken against."""
    machine: str = ""
    command: str = ""
    source: str = ""
    """The study file as it was read."""
    text: Callable[[str, int, int], str | None] = field(default=lambda document, start, end: None)
    """The characters `[start, end)` of a document, None where it is not at hand."""

    @property
    def complete(self) -> list[TrialRecord]:
        """The trials that may be ranked."""
        return [trial for trial in self.trials if trial.state == "complete"]
