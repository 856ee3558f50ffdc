"""Reading a study file: everything that is wrong with it is found before anything runs, each with its place."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.yaml_source import Place, Source
from fovea.pipelines.sweep.domain import Choice, Scalar
from fovea.pipelines.sweep.space import Resolved, Space
from fovea.pipelines.sweep.study import Study, without_nulls
from fovea.pipelines.sweep.study_spec import FORMAT, Limits, Prune, Search, StudySpec
from fovea.rag.errors import ConfigError, ConfigErrors

TRIES = 2_000
"""Configurations drawn before constraints are said to contradict each other."""


def load_study(path: Path, **instead: Any) -> Study:
    """Read and check a study file; raises ConfigErrors with file:line:column for all that is wrong. `instead` are
    settings that take the place of the file's.
    """
    source = yaml_source.read(path)
    data = source.data
    if not isinstance(data, dict):
        raise ConfigError("a study is a mapping", where=source.where(()), allowed=StudySpec.model_fields)
    if data.get("format", FORMAT) != FORMAT:
        raise ConfigError(
            f"this study file is of format {data['format']!r}; this version reads format {FORMAT}",
            where=source.where(("format",)), fix="pip install --upgrade fovea-rag, or write the file anew",
        )  # fmt: skip
    try:
        spec = StudySpec.model_validate(data | instead, context=source.context)
    except ValidationError as error:
        raise ConfigErrors([_explained(e, source) for e in error.errors(include_url=False)]) from None
    study = Study(spec, source, path.read_text(encoding="utf-8"), path.resolve().parent)
    _check(study)
    return study


def _explained(error: Any, source: Source) -> ConfigError:
    place: Place = tuple(error["loc"])
    name = ".".join(map(str, place))
    if error["type"] == "extra_forbidden":
        models: dict[str, type[BaseModel]] = {"search": Search, "prune": Prune, "limits": Limits}
        model = models.get(str(place[0]), StudySpec)
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
    for key in ("objectives", "metrics"):
        for name in getattr(study.spec, key):
            try:
                metric(name)
            except ConfigError as error:
                raise error.at(study.source.where((key, name), key=True)) from None
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
    if not _any_allowed(study):
        raise ConfigError(
            "no configuration is left: the constraints contradict each other",
            where=study.source.where(("constraints",)), fix="take one of them out",
        )  # fmt: skip


def _any_allowed(study: Study) -> bool:
    """Whether the constraints leave anything. Of a grid all is looked at only where neither its beginning nor chance
    finds one: a large one takes seconds.
    """
    grid = study.space.grid() if study.spec.search.use == "grid" else iter(())
    rng = random.Random(study.spec.search.seed)
    looked = islice(grid, TRIES), (study.draw(rng) for _ in range(TRIES)), grid
    return any(map(study.allows, chain(*looked)))


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
    return here.labels[int(option[-1])]  # type: ignore[call-overload]


def _faults(study: Study, resolved: Resolved) -> Iterator[ConfigError]:
    """What is wrong with the settings of single stages; stages that do not fit each other are for the trial to say."""
    source = study.space.translated(without_nulls(resolved))
    try:
        PipelineSpec.model_validate(source.data, context=source.context)
    except ValidationError:
        try:
            check(source)
        except ConfigErrors as errors:
            yield from errors.errors
    except ConfigErrors:
        return
