"""Trials: run in one process, one configuration after another, over what is cached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fovea.pipelines.evaluation.evaluate import Evaluator
from fovea.pipelines.evaluation.gold import Question, QuestionSet
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.sweep.encoder import StageEncoder
from fovea.pipelines.sweep.libraries import CHANGED, Documents, Libraries, TrialPipeline
from fovea.pipelines.sweep.stages import Stages
from fovea.rag.component import Component, fingerprint
from fovea.rag.errors import ConfigError


@dataclass(frozen=True)
class Task:
    """What a worker must know before its first trial; plain data, so that it can be sent."""

    cache: str
    base: str
    documents: tuple[str, ...]
    questions: QuestionSet
    """In the order in which they are asked."""
    metrics: tuple[str, ...]
    judge: Mapping[str, Any] | None = None
    encoder: Mapping[str, Any] | None = None
    """The encoder that measures likeness and counts tokens, one for all trials."""
    content: str = ""
    """The documents by their content (`Documents.fingerprint`), when the study began."""


@dataclass(frozen=True)
class Job:
    """Some questions of one trial."""

    trial: str
    settings: Mapping[str, Any]
    first: int
    last: int


@dataclass(frozen=True)
class Done:
    """What a worker says of a job. `failed` is the reason where there are no outcomes."""

    trial: str
    outcomes: tuple[Outcome, ...] = ()
    stages: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0
    warnings: Mapping[str, int] = field(default_factory=dict)
    """What was warned of while it was computed, with how often."""
    failed: str = ""
    fatal: bool = False
    """Whether every other trial would fail for this reason."""


class Unfit(Exception):
    """Questions, metrics or a judge that no trial can be measured by."""


class Trials:
    """Runs jobs. The pipeline of the last one is kept open, since its next questions often follow."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.stages = Stages(Path(task.cache))
        documents = Documents(Path(task.base), task.documents, task.questions.documents)
        if task.content and documents.fingerprint != task.content:
            raise Unfit(CHANGED)
        self.libraries = Libraries(Path(task.cache), documents, self.stages)
        self._open: tuple[str, TrialPipeline, Evaluator, str] | None = None
        self._read = ""

    def run(self, job: Job) -> tuple[tuple[Outcome, ...], dict[str, tuple[int, int]]]:
        """The outcomes of its questions, and by stage how often it was computed and how often found."""
        file = self.stages.file
        made, found = Counter(file.made), Counter(file.found)
        evaluator, corpus = self._evaluator(job)
        with self.stages.over(corpus, self._read):
            outcomes = tuple(evaluator.outcome(q) for q in self._questions(job))
        kinds = sorted({*file.made, *file.found})
        return outcomes, {k: (file.made[k] - made[k], file.found[k] - found[k]) for k in kinds}

    def _questions(self, job: Job) -> Sequence[Question]:
        return self.task.questions.questions[job.first : job.last]

    def _evaluator(self, job: Job) -> tuple[Evaluator, str]:
        if self._open and self._open[0] == job.trial:
            return self._open[2], self._open[3]
        self.close()
        spec = check(yaml_source.Source("trial", dict(job.settings), base=Path(self.task.base)))
        self._read = fingerprint([self.libraries.documents.fingerprint, spec.encoder.fingerprint])
        pipeline, corpus, _ = self.libraries.pipeline(spec)
        evaluator = self._measure(pipeline, spec)
        self._open = job.trial, pipeline, evaluator, corpus
        return evaluator, corpus

    def _measure(self, pipeline: TrialPipeline, spec: PipelineSpec) -> Evaluator:
        encoder = StageEncoder.over(_component("encoder", self.task.encoder) or spec.encoder, self.stages)
        judge = _component("generate", self.task.judge)
        try:
            return Evaluator(pipeline, self.task.questions, self.task.metrics, judge=judge, encoder=encoder)
        except ConfigError as error:
            pipeline.close()
            raise Unfit(str(error)) from None

    def close(self) -> None:
        """Let go of the open pipeline."""
        if self._open:
            self._open[1].close()
            self._open = None


def _component(field: str, settings: Mapping[str, Any] | None) -> Any:
    """The component that a stage's settings describe."""
    return getattr(check(yaml_source.Source("study", {field: dict(settings)})), field) if settings else None


def plain(component: Component | None) -> dict[str, Any] | None:
    """Its settings, to be sent to a worker."""
    return component.settings() if component else None
