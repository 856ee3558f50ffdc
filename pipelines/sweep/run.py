"""Sweep: runs a study to its end, or goes on with one. Several processes may run the same study at once.

    study = load_study(Path("study.yaml"))
    with Sweep(study, Path("chunking.sweep")) as sweep:
        sweep.run(LocalPool(sweep.data.task, size=2, memory_mb=None))
        record = sweep.record()

The folder holds everything: results, Optuna's journal, and the cache. Killed at any moment, the same command goes on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from fovea.pipelines.evaluation.evaluation import failures_of, values_of
from fovea.pipelines.evaluation.measurements import machine
from fovea.pipelines.evaluation.metrics.metric import metric
from fovea.pipelines.evaluation.outcome import Outcome
from fovea.pipelines.sweep.cache_file import locked
from fovea.pipelines.sweep.data import StudyData
from fovea.pipelines.sweep.pool import Pool
from fovea.pipelines.sweep.pruning import beaten_by
from fovea.pipelines.sweep.record import Record, State
from fovea.pipelines.sweep.results import Claimed, Results
from fovea.pipelines.sweep.space import Resolved
from fovea.pipelines.sweep.study import Study
from fovea.pipelines.sweep.suggest import Suggestions, drawn
from fovea.pipelines.sweep.texts import Texts
from fovea.pipelines.sweep.trial import Done, Job
from fovea.rag import progress
from fovea.rag.errors import ConfigError
from fovea.rag.printable import counted

DUPLICATES = 200
"""Suggestions in a row that have been tried already, after which a space counts as exhausted."""


@dataclass
class _Running:
    """A trial of this process, on its way through the questions."""

    trial: Claimed
    number: int
    outcomes: list[Outcome] = field(default_factory=list)
    stages: dict[str, tuple[int, int]] = field(default_factory=dict)
    seconds: float = 0.0


class Sweep:
    """One process's part in a study. Raises StoreError for a folder that cannot be used, and as `StudyData` does."""

    def __init__(self, study: Study, folder: Path, *, cache: Path | None = None) -> None:
        self.study, self.folder = study, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.cache = cache or folder / "cache"
        self.results = Results(folder)
        self.data = StudyData(study, self.cache)
        self.suggestions = Suggestions(folder, study, self.data.fingerprint)
        self.history = self.suggestions.fingerprint

    def __enter__(self) -> Sweep:
        return self

    def __exit__(self, *_: object) -> None:
        self.results.close()

    # Running

    def run(self, pool: Pool) -> None:
        """Run trials until there are none left, or all that are left are run by other processes."""
        running: dict[Future[Done], _Running] = {}
        before = len(self.results.trials(self.history))
        label = f"trials, {before} done before" if before else "trials"
        self._announce()
        try:
            with progress.bar(label, self.suggestions.most - before) as bar:
                while True:
                    while len(running) < pool.size and (one := self._next()) is not None:
                        if one.outcomes and self._ended(one):
                            bar.advance(1, self._said(one))
                        else:
                            self._go_on(one, running, pool)
                    if not running:
                        return
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        one = running.pop(future)
                        if self._take(one, future.result()):
                            bar.advance(1, self._said(one))
                        else:
                            self._go_on(one, running, pool)
        finally:
            pool.close()

    def _announce(self) -> None:
        """Say in the folder what is run, for those who watch (`fovea.pipelines.sweep.watch`)."""
        plan = {
            "history": self.history, "study": self.study.spec.study, "objectives": dict(self.study.objectives),
            "trials": self.suggestions.most, "questions": len(self.data.questions.questions),
        }  # fmt: skip
        self.results.remember("plan", json.dumps(plan))

    def _next(self) -> _Running | None:
        """A trial that is now this process's: one left by a dead process, or a new one; None where there is none."""
        with self._alone():
            for number in self.suggestions.running():
                if (one := self._left(number)) is not None:
                    return one
            if self.results.fact(f"exhausted {self.history}") == str(self.suggestions.most):
                return None
            for _ in range(DUPLICATES):
                if self.results.count(self.history) >= self.suggestions.most:
                    return None
                if (asked := drawn(self.suggestions, self.study.allows)) is None:
                    return None
                if (one := self._claimed(*asked)) is not None:
                    return one
            self.results.remember(f"exhausted {self.history}", str(self.suggestions.most))
        return None

    def _left(self, number: int) -> _Running | None:
        """A trial that was asked for and not told of, if its process is dead."""
        resolved = self.suggestions.again(number)
        if not self.study.allows(resolved):
            self.suggestions.tell(number, None)
            return None
        return self._claimed(number, resolved)

    def _claimed(self, number: int, resolved: Resolved) -> _Running | None:
        id_, settings = self.data.identity(resolved)
        trial = Claimed(id_, settings)
        state = self.results.claim(trial, self.history, number, resolved.params)
        if state is None:
            return _Running(trial, number, self.results.outcomes(id_))
        if state != "running":
            self._tell(number, id_)
        return None

    def _tell(self, number: int, id_: str) -> None:
        """Tell the history what came of a trial that is over."""
        record = self.results.trial(self.history, id_)
        assert record is not None
        if record.state != "complete" or any(name not in record.values for name in self.study.objectives):
            self.suggestions.tell(number, None, pruned=record.state == "pruned")
            return
        self.suggestions.tell(number, {name: record.values[name].mean for name in self.study.objectives})

    def _go_on(self, one: _Running, running: dict[Future[Done], _Running], pool: Pool) -> None:
        """The next questions of a trial."""
        first = len(one.outcomes)
        left = self.study.spec.limits.seconds and max(0.1, self.study.spec.limits.seconds - one.seconds)
        last = next(n for n in [*self._rungs, len(self.data.questions.questions)] if n > first)
        running[pool.submit(Job(one.trial.id, one.trial.settings, first, last), left)] = one

    @cached_property
    def _rungs(self) -> list[int]:
        prune = self.study.spec.prune
        return sorted(n for n in prune.after if n < len(self.data.questions.questions)) if prune else []

    def _take(self, one: _Running, done: Done) -> bool:
        """What came of some questions; whether the trial is over."""
        one.seconds += done.seconds
        self.results.warn(self.history, done.warnings)
        for kind, (made, found) in done.stages.items():
            before = one.stages.get(kind, (0, 0))
            one.stages[kind] = before[0] + made, before[1] + found
        if done.fatal:
            raise ConfigError(done.failed)
        if done.failed:
            return self._over(one, "failed", done.failed)
        outcomes = [self._nothing_won(outcome) for outcome in done.outcomes]
        self.results.add(one.trial.id, len(one.outcomes), outcomes)
        one.outcomes += outcomes
        return self._ended(one)

    def _ended(self, one: _Running) -> bool:
        """Whether what came of the questions so far ends the trial; a killed process may have left that unsaid."""
        if why := self._too_many_failed(one):
            return self._over(one, "failed", why)
        if len(one.outcomes) < len(self.data.questions.questions):
            rival = self._rival(one)
            return rival is not None and self._over(
                one,
                "pruned",
                f"after {counted(len(one.outcomes), 'questions')}, trial {rival} is better in every objective",
            )
        return self._over(one, "complete", "")

    def _nothing_won(self, outcome: Outcome) -> Outcome:
        """A failed question counts 0 for what is to be high: a configuration is not the better for failing at it."""
        if not outcome.failed:
            return outcome
        question = self.data.asked[outcome.question]
        high = [name for name, direction in self.study.objectives.items() if direction == "maximise"]
        return replace(outcome, scores={name: 0.0 for name in high if metric(name).applies(question)})

    def _too_many_failed(self, one: _Running) -> str:
        failed = failures_of(one.outcomes)
        count = sum(1 for outcome in one.outcomes if failures_of([outcome]))
        if count <= self.study.spec.limits.failures * len(self.data.questions.questions):
            return ""
        why, times = failed.most_common(1)[0]
        asked = counted(len(one.outcomes), "questions")
        return f"{count} of {asked} failed; the most frequent reason, {times} times: {why}"

    def _rival(self, one: _Running) -> str | None:
        """The number of a complete trial that beats this one on the questions so far."""
        prune = self.study.spec.prune
        if prune is None:
            return None
        complete = [t for t in self.results.trials(self.history) if t.state == "complete"]
        rivals = ((str(t.number), self.results.outcomes(t.id, len(one.outcomes))) for t in complete)
        return beaten_by(one.outcomes, rivals, self.study.objectives, prune.level)

    def _over(self, one: _Running, state: State, reason: str) -> bool:
        values = values_of(one.outcomes, self.data.questions, self.study.metrics) if one.outcomes else {}
        lacking = [name for name in self.study.objectives if name not in values]
        if state == "complete" and lacking:
            state, reason = "failed", f"no question gave a value of {', '.join(lacking)}"
        with self._alone():
            self.results.finish(
                one.trial.id, state, values=values, reason=reason, seconds=one.seconds, stages=one.stages
            )
            self._tell(one.number, one.trial.id)
        return True

    def _said(self, one: _Running) -> str:
        record = self.results.trial(self.history, one.trial.id)
        assert record is not None
        name = next(iter(self.study.objectives))
        if record.state == "complete":
            return f"{record.number}: {name} {record.values[name].mean:.3f}"
        return f"{record.number}: {record.state}: {record.reason.splitlines()[0][:60]}"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One process asks at a time."""
        with locked(self.folder / "ask.lock", seconds=600):
            yield

    # What is known

    def record(self, command: str = "") -> Record:
        """The study as it stands."""
        trials = self.results.trials(self.history)
        baseline, _ = self.data.identity(self.study.baseline)
        texts = Texts(self.cache, self.data.questions.documents)
        return Record(
            name=self.study.spec.study,
            objectives=self.study.objectives,
            trials=trials,
            questions=texts.fitted(replace(self.data.questions, documents=())),
            baseline=baseline if any(t.id == baseline for t in trials) else None,
            machine=machine(),
            command=command,
            source=self.study.text,
            text=texts,
        )
