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
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.value import Direction
from fovea.pipelines.spec.check import check
from fovea.pipelines.spec.pipeline_spec import PipelineSpec
from fovea.pipelines.spec.yaml_source import Source
from fovea.pipelines.sweep.constraints import Constraint
from fovea.pipelines.sweep.domain import drawn
from fovea.pipelines.sweep.space import Resolved, Space
from fovea.pipelines.sweep.study_spec import StudySpec
from fovea.rag.errors import ConfigError

ALWAYS = ("seconds", "tokens_passages")
"""What every trial is measured by, beside its objectives."""
COVERAGE = "coverage"


INGESTED = ("preset", "load", "encoder", "segment", "pool", "situate")
"""The stages that make a library."""


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
    def objectives(self) -> dict[str, Direction]:
        """By metric, which way is better. Raises ConfigError for a metric that nobody measures."""
        return {name: given or metric(name).direction for name, given in self.spec.objectives.items()}

    @property
    def metrics(self) -> list[str]:
        """All that is measured, the objectives first; with answers, also how many questions are answered."""
        chosen = [*self.spec.objectives, *self.spec.metrics]
        answers = any("answer" in metric(name).needs for name in chosen)
        return list(dict.fromkeys([*chosen, *([COVERAGE] if answers else []), *ALWAYS]))

    @cached_property
    def grid(self) -> list[Resolved]:
        """Every configuration that the constraints allow: the first of each way of making a library, then the second
        of each, and so on; so that workers build libraries side by side, and a study soon shows what differs.
        """
        allowed = [resolved for resolved in self.space.grid() if self.allows(resolved)]
        turns: Counter[str] = Counter()
        order = []
        for place, resolved in enumerate(allowed):
            library = repr([resolved.settings.get(stage) for stage in INGESTED])
            order.append((turns[library], place))
            turns[library] += 1
        return [allowed[place] for _, place in sorted(order)]

    @cached_property
    def baseline(self) -> Resolved:
        """What the others are compared with."""
        return self.space.first(**self.spec.baseline)

    def pipeline(self, resolved: Resolved) -> PipelineSpec:
        """The pipeline of a configuration; raises ConfigErrors with places in the study file."""
        return check(self.space.translated(without_nulls(resolved)))

    def draw(self, rng: random.Random) -> Resolved:
        """A configuration by chance."""
        return self.space.resolve(lambda _, here: drawn(here, rng))


def without_nulls(resolved: Resolved) -> Resolved:
    """A stage that is null is left out."""
    kept = {key: value for key, value in resolved.settings.items() if value is not None}
    return Resolved(resolved.params, kept, resolved.places)
