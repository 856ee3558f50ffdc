"""StudyData: the questions and documents of a study, and the names of its configurations over them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.gold import Question, QuestionSet
from fovea.pipelines.evaluation.questions import read_questions
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.libraries import Documents
from fovea.pipelines.sweep.space import Resolved
from fovea.pipelines.sweep.study import Study
from fovea.pipelines.sweep.trial import Task, plain
from fovea.rag.component import Component, fingerprint
from fovea.rag.content import content_of
from fovea.rag.errors import ConfigError, FoveaError
from fovea.rag.version import __version__


@dataclass(frozen=True)
class StudyData:
    """What all trials of a study share. Raises ConfigError for questions or documents that cannot be had."""

    study: Study
    cache: Path

    @cached_property
    def questions(self) -> QuestionSet:
        """In the order in which every trial is asked them: by chance, so that the first few stand for all."""
        found = read_questions(self.study.base / self.study.spec.questions)
        drawn_ = list(found.questions)
        random.Random(self.study.spec.search.seed).shuffle(drawn_)
        return replace(found, questions=tuple(drawn_[: self.study.spec.limit]))

    @cached_property
    def asked(self) -> dict[str, Question]:
        """The questions by their ids."""
        return {question.id: question for question in self.questions.questions}

    @cached_property
    def documents(self) -> Documents:
        """What is searched."""
        given, paths = self.questions.documents, tuple(self.study.spec.documents)
        if not paths and not given:
            raise ConfigError(
                "no documents: the question set brings none, and the study names none",
                where=self.study.source.where(()), fix="documents: [folder/]",
            )  # fmt: skip
        return Documents(self.study.base, paths, given)

    @cached_property
    def task(self) -> Task:
        """What workers must know."""
        spec = self.study.spec
        encoder = self.study.pipeline(self.study.baseline).encoder
        questions = self.questions if not spec.documents else replace(self.questions, documents=())
        return Task(
            str(self.cache.resolve()), str(self.study.base), tuple(spec.documents), questions,
            tuple(self.study.metrics), plain(spec.judge), encoder.settings(), self.documents.fingerprint,
        )  # fmt: skip

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that decides a result beside the configuration: questions, gold, documents, metrics, judge, for
        what a trial is given up, the content of every model that the study names, and the version. Results of others
        are never shown as these.
        """
        task, spec = self.task, self.study.spec
        return fingerprint(
            [
                self.questions.fingerprint,
                self.documents.fingerprint,
                task.metrics,
                task.judge,
                _content(spec.judge),
                spec.prune and spec.prune.model_dump(),
                spec.limits.model_dump(),
                _content(self.study.pipeline(self.study.baseline).encoder),
                {text: content_of(text) for text in sorted(set(_texts(self.study.source.data.get("pipeline"))))},
                __version__,
            ]
        )

    def identity(self, resolved: Resolved) -> tuple[str, dict[str, Any]]:
        """The name of a configuration, and its pipeline; one that is no pipeline bears its raw settings."""
        try:
            pipeline = self.study.pipeline(resolved)
        except ConfigError:
            return self._name(settings := dict(resolved.settings), []), settings
        return self.name(pipeline), pipeline.settings()

    def name(self, pipeline: PipelineSpec) -> str:
        """The name of the configuration that gave a pipeline."""
        return self._name(pipeline.settings(), [_content(component) for component in _components(pipeline)])

    def _name(self, settings: Mapping[str, Any], made: list[str]) -> str:
        named = {k: v for k, v in settings.items() if k not in ("name", "preset")}
        named["store"] = {k: v for k, v in dict(named.get("store") or {}).items() if k != "path"}
        return fingerprint([self.fingerprint, named, made])


def _components(pipeline: PipelineSpec) -> Iterator[Component]:
    """Every component of a pipeline, the default fuser too."""
    for value in (*(getattr(pipeline, name) for name in type(pipeline).model_fields), pipeline.fuser):
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Component))


def _texts(settings: Any) -> Iterator[str]:
    """Every text in the settings of a study, at any depth: some of them name models and weights."""
    if isinstance(settings, str):
        yield settings
    elif isinstance(settings, Mapping):
        yield from (text for value in settings.values() for text in _texts(value))
    elif isinstance(settings, (list, tuple)):
        yield from (text for value in settings for text in _texts(value))


def _content(component: Component | None) -> str:
    """What decides a component's results, models by their content; its settings alone where a model cannot be had."""
    if component is None:
        return ""
    try:
        return component.fingerprint
    except FoveaError:
        return fingerprint(component.settings())
