"""Study: what is searched, on which questions, for what, and how: one YAML file, checked before anything runs.

study: chunking
documents: [handbook/]
questions: questions.jsonl
objectives: {nDCG@10: maximise, seconds: minimise}
search: {use: tpe, trials: 40}
pipeline:
  segment: {choice: [{use: fixed}, {use: hnet_rule}]}
  candidates: {range: [20, 100]}
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
)

from pipelines import yaml_source
from pipelines.spec import PipelineSpec, check
from pipelines.sweep.constraints import Constraint
from pipelines.sweep.domain import Choice, Range, Scalar, values
from pipelines.sweep.record import Direction
from pipelines.sweep.space import Resolved, Space
from pipelines.yaml_source import Place, Source
from rag.errors import ConfigError, ConfigErrors, nearest
from rag.generation import Generator

FORMAT = 1
TRIES = 2_000
"""Configurations drawn before constraints are said to contradict each other."""


class _Settings(BaseModel):
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
    return dict.fromkeys(value) if isinstance(value, list) else {value: None} if isinstance(value, str) else value


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


@dataclass(frozen=True)
class Study:
    """A study file, read and checked."""

    spec: StudySpec
    source: Source
    text: str
    base: Path
    """The folder that relative paths start from."""

    @cached_property
    def space(self) -> Space:
        """The choices of the pipeline."""
        return Space(self.source, ("pipeline",))

    @cached_property
    def constraints(self) -> list[Constraint]:
        """Its constraints, read."""
        found = []
        for i, text in enumerate(self.spec.constraints):
            try:
                found.append(Constraint.parse(text, self.space.parameters))
            except ConfigError as error:
                raise error.at(self.source.where(("constraints", i))) from None
        return found

    def allows(self, resolved: Resolved) -> bool:
        """Whether every constraint holds."""
        return all(constraint.holds(resolved.params) for constraint in self.constraints)

    @cached_property
    def grid(self) -> list[Resolved]:
        """Every configuration that the constraints allow."""
        return [resolved for resolved in self.space.grid() if self.allows(resolved)]

    @cached_property
    def baseline(self) -> Resolved:
        """What the others are compared with."""
        return self.space.first(**self.spec.baseline)

    def pipeline(self, resolved: Resolved) -> PipelineSpec:
        """The pipeline of a configuration; raises ConfigErrors with places in the study file."""
        return check(self.space.translated(_without_nulls(resolved)))

    def draw(self, rng: random.Random) -> Resolved:
        """A configuration by chance."""
        return self.space.resolve(lambda _, here: _drawn(here, rng))


def _drawn(here: Choice | Range, rng: random.Random) -> Scalar:
    if isinstance(here, Choice) or here.step:
        return rng.choice(values(here))
    return rng.randint(int(here.low), int(here.high)) if here.whole else rng.uniform(here.low, here.high)


def _without_nulls(resolved: Resolved) -> Resolved:
    """A stage that is null is left out."""
    kept = {key: value for key, value in resolved.settings.items() if value is not None}
    return Resolved(resolved.params, kept, resolved.places)


def load_study(path: Path) -> Study:
    """Read and check a study file; raises ConfigErrors with file:line:column for all that is wrong."""
    source = yaml_source.read(path)
    data = source.data
    if not isinstance(data, dict):
        raise ConfigError("a study is a mapping", where=source.where(()), allowed=StudySpec.model_fields)
    if data.get("format", FORMAT) != FORMAT:
        raise ConfigError(
            f"this study file is of format {data['format']!r}; this version reads format {FORMAT}",
            where=source.where(("format",)), fix="pip install --upgrade fovea, or write the file anew",
        )  # fmt: skip
    try:
        spec = StudySpec.model_validate(data)
    except ValidationError as error:
        raise ConfigErrors([_explained(e, source) for e in error.errors(include_url=False)]) from None
    study = Study(spec, source, path.read_text(encoding="utf-8"), path.resolve().parent)
    _check(study)
    return study


def _explained(error: Any, source: Source) -> ConfigError:
    place: Place = tuple(error["loc"])
    name = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        model = {"search": Search, "prune": Prune, "limits": Limits}.get(str(place[0]), StudySpec)
        return ConfigError(
            f"{name}: unknown setting {place[-1]!r}", where=source.where(place, key=True),
            allowed=model.model_fields, got=str(place[-1]),
        )  # fmt: skip
    if error["type"] == "missing":
        return ConfigError(f"{name}: this setting is needed", where=source.where(place[:-1]))
    words = error["msg"][0].lower() + error["msg"][1:]
    return ConfigError(f"{name}: {words}, got {error.get('input')!r}", where=source.where(place))


def _check(study: Study) -> None:
    """What no single setting can tell."""
    errors = {str(error): error for one in _one_by_one(study) for error in _faults(study, one)}
    if errors:
        raise ConfigErrors(errors.values())
    for name in study.spec.baseline:
        if name not in study.space.parameters:
            raise ConfigError(
                f"baseline: there is no parameter {name!r}", where=study.source.where(("baseline", name), key=True),
                allowed=study.space.parameters, got=name,
            )  # fmt: skip
    if not study.space.parameters:
        raise ConfigError(
            "an empty space: the pipeline has no choice, range or log_range", where=study.source.where(("pipeline",)),
            fix="segment: {choice: [{use: fixed}, {use: recursive}]}",
        )  # fmt: skip
    study.pipeline(study.baseline)
    if study.spec.search.use == "grid":
        allowed = any(study.grid)
    else:
        rng = random.Random(study.spec.search.seed)
        allowed = any(study.allows(study.draw(rng)) for _ in range(TRIES))
    if not allowed:
        raise ConfigError(
            "no configuration is left: the constraints contradict each other", where=study.source.where(("constraints",)),
            fix="take one of them out",
        )  # fmt: skip


def _one_by_one(study: Study) -> Iterator[Resolved]:
    """Configurations in which each option of each choice comes up once."""
    space = study.space
    for place, name in space.names.items():
        here = space.domains[place]
        parents = {space.names[p[:-2]]: _label(space, p) for p in _above(place) if p in space.options}
        for value in here.labels if isinstance(here, Choice) else (here.low, here.high):
            yield space.first(**{**parents, name: value})
    yield space.first()


def _above(place: Place) -> Iterator[Place]:
    yield from (place[:n] for n in range(1, len(place)))


def _label(space: Space, option: Place) -> Scalar:
    here = space.domains[option[:-2]]
    assert isinstance(here, Choice)
    return here.labels[int(option[-1])]  # type: ignore[call-overload, no-any-return]


def _faults(study: Study, resolved: Resolved) -> Iterator[ConfigError]:
    """What is wrong with the settings of single stages; stages that do not fit each other are for the trial to say."""
    source = study.space.translated(_without_nulls(resolved))
    try:
        PipelineSpec.model_validate(source.data)
    except ValidationError:
        try:
            check(source)
        except ConfigErrors as errors:
            yield from errors.errors
    except ConfigErrors:
        return


def unknown_metric(name: str, known: Mapping[str, Any], source: Source) -> ConfigError:
    """The error for an objective or metric that nobody measures."""
    return ConfigError(
        f"there is no metric {name!r}", where=source.where(("objectives", name), key=True), allowed=known,
        got=nearest(name, known) or name,
    )  # fmt: skip
