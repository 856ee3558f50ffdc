"""StudySpec: the settings of a study file, each with what it says."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt

from fovea.pipelines.evaluation.value import Direction
from fovea.pipelines.sweep.domain import Scalar
from fovea.rag.generation import Generator
from fovea.rag.written import Written

FORMAT = 1


class _Settings(Written):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Search(_Settings):
    """Which configurations are tried, in which order."""

    use: Literal["grid", "random", "tpe", "nsga2"] = "grid"
    """`grid` tries all; `tpe` models what has done well; `nsga2` breeds a front of several objectives."""
    trials: PositiveInt | None = None
    """How many are tried; left out, all of a grid, and 50 of the others."""
    seed: int = 0
    """Same seed, same trials, in one process."""
    population: PositiveInt = 20
    """Of nsga2: trials in a generation."""


class Prune(_Settings):
    """Give up a trial that is worse than another one for all objectives on the first questions."""

    after: list[PositiveInt] = Field(default=[25, 50, 100], min_length=1)
    """Numbers of questions after which a trial is looked at."""
    level: float = Field(default=0.05, gt=0, lt=0.5)
    """How likely, at most, a trial is given up that is as good (one-sided paired bootstrap, for each objective)."""


class Limits(_Settings):
    """What a trial may cost. One that goes over is stopped and counted as failed; the others go on."""

    seconds: PositiveFloat | None = None
    """Wall clock of one trial."""
    memory_mb: PositiveInt | None = None
    """Resident memory of the process that runs it."""
    failures: NonNegativeFloat = Field(default=0.0, le=1)
    """The share of questions that may fail; over it, the trial has failed."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_objectives(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value)
    return {value: None} if isinstance(value, str) else value


class StudySpec(_Settings):
    """The settings of a study."""

    study: str = Field(pattern=r"^[\w.-]+$")
    """Its name, which its folder bears: NAME.sweep."""
    format: int = FORMAT
    """The version of this file's form."""
    pipeline: dict[str, Any]
    """A pipeline's YAML, with choices in the place of values."""
    documents: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Files, folders and globs; left out, the documents that come with the questions."""
    questions: str
    """A question set, as `fovea eval` takes it."""
    limit: PositiveInt | None = None
    """How many of the questions are asked, drawn by `search.seed`; left out, all."""
    objectives: Annotated[dict[str, Direction | None], BeforeValidator(_as_objectives), Field(min_length=1)]
    """Metrics, each to `maximise` or `minimise`, which is known where it is left out. The first one sorts the table."""
    metrics: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Metrics that are measured beside the objectives."""
    judge: Generator | None = None
    """The model that judged metrics ask."""
    search: Search = Search()
    """How the space is searched."""
    constraints: Annotated[list[str], BeforeValidator(_as_list)] = Field(default_factory=list)
    """Which configurations are tried at all."""
    baseline: dict[str, Scalar] = Field(default_factory=dict)
    """Parameters of the configuration that others are compared with; left out, the first of every choice."""
    prune: Prune | None = None
    """Whether hopeless trials are given up."""
    limits: Limits = Limits()
    """What a trial may cost."""
