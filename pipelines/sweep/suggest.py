"""Suggestions: which configuration is tried next. Optuna keeps the history, in a journal that its own tools read.

Every suggestion is made with a seed of its own, from the study's and the number of the trial; so a study that was
killed goes on as if it had not been. A grid walks through all configurations, the other searches ask Optuna's samplers.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from fovea.pipelines.sweep.domain import Choice, Domain, Scalar
from fovea.pipelines.sweep.space import Resolved
from fovea.pipelines.sweep.study import Study
from fovea.rag.component import fingerprint
from fovea.rag.errors import ConfigError, require

JOURNAL = "optuna.journal"
TRIALS = 50
"""How many are tried where nobody says."""


class Suggestions:
    """The history of one study over one set of data (`StudyData.fingerprint`), since values over other questions or
    documents are those of another study. Callers hold a lock while they ask.
    """

    SAMPLERS: ClassVar[Mapping[str, str]] = {"random": "RandomSampler", "tpe": "TPESampler", "nsga2": "NSGAIISampler"}

    def __init__(self, folder: Path, study: Study, data: str = "") -> None:
        self.study, self.search, self.data = study, study.spec.search, data
        self.optuna: Any = require("optuna", extra="sweep", needed_by="fovea sweep")
        self.optuna.logging.set_verbosity(logging.WARNING)
        backend = self.optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL), _Lock(folder / "optuna.lock"))
        self.history: Any = self.optuna.create_study(
            storage=self.optuna.storages.JournalStorage(backend),
            study_name=f"{study.spec.study}-{self.fingerprint}",
            directions=[way.replace("ise", "ize") for way in study.objectives.values()],
            load_if_exists=True,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the space, of how it is searched, and of what is measured: another one has another history."""
        spec, space = self.study.spec, {name: repr(domain) for name, domain in self.study.space.parameters.items()}
        search = self.search.model_dump(exclude={"trials"})
        return fingerprint([space, search, spec.constraints, self.study.objectives, spec.limit, self.data])

    @property
    def most(self) -> int:
        """How many configurations are tried in all, at most."""
        if self.search.use == "grid":
            return min(len(self.study.grid), self.search.trials or len(self.study.grid))
        return self.search.trials or TRIALS

    def ask(self) -> tuple[int, Resolved] | None:
        """The next number and its configuration, the baseline first; None where a grid is at its end. A configuration
        that the constraints forbid may be among them; whoever asks tells that it failed.
        """
        number = len(self.history.get_trials(deepcopy=False))
        if self.search.use == "grid" and number >= self.most:
            return None
        self.history.sampler = self._sampler(number)
        return number, self._walk(self.history.ask(), number)

    def again(self, number: int) -> Resolved:
        """The configuration of a trial that was asked for and never told of; what it lacked is suggested now."""
        trial = self.history.get_trials(deepcopy=False)[number]
        self.history.sampler = self._sampler(number)
        return self._walk(self.optuna.trial.Trial(self.history, trial._trial_id), number)

    def running(self) -> list[int]:
        """The numbers of trials that were asked for and not told of."""
        running = self.optuna.trial.TrialState.RUNNING
        return [t.number for t in self.history.get_trials(deepcopy=False, states=(running,))]

    def tell(self, number: int, values: Mapping[str, float] | None, *, pruned: bool = False) -> None:
        """What came of it: a value for each objective, or None for a trial that has none. What was told first holds."""
        states = self.optuna.trial.TrialState
        state = states.COMPLETE if values else states.PRUNED if pruned else states.FAIL
        given = [values[name] for name in self.study.objectives] if values else None
        self.history.tell(number, given, state=state, skip_if_finished=True)

    def _sampler(self, number: int, name: str = "") -> Any:
        """A sampler for one parameter of one trial, so that a trial which was asked for half way goes on alike."""
        if self.search.use == "grid":
            return _given(self.optuna, self.study.grid[number].params)
        if number == 0:
            return _given(self.optuna, self.study.baseline.params)
        make = getattr(self.optuna.samplers, self.SAMPLERS[self.search.use])
        more: dict[str, Any] = {"nsga2": {"population_size": self.search.population}}.get(self.search.use, {})
        return make(seed=int(fingerprint([self.search.seed, number, name])[:8], 16), **more)

    def _walk(self, trial: Any, number: int) -> Resolved:
        def suggest(name: str, here: Domain) -> Scalar:
            self.history.sampler = self._sampler(number, name)
            return _suggested(trial, name, here)

        return self.study.space.resolve(suggest)


class _Lock:
    """The journal's lock, in Optuna's form. Its own ones outlive a killed process, for half a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: sqlite3.Connection | None = None

    def acquire(self) -> bool:
        """Wait until nobody else writes."""
        self._held = sqlite3.connect(self._path, timeout=600, isolation_level=None, check_same_thread=False)
        self._held.execute("BEGIN EXCLUSIVE")
        return True

    def release(self) -> None:
        """Let others write."""
        if self._held is not None:
            self._held.close()
            self._held = None


def _suggested(trial: Any, name: str, here: Domain) -> Scalar:
    found: Scalar
    if isinstance(here, Choice):
        found = here.labels[0] if len(here.labels) == 1 else trial.suggest_categorical(name, list(here.labels))
    elif here.whole:
        found = trial.suggest_int(name, int(here.low), int(here.high), step=int(here.step or 1), log=here.log)
    else:
        found = trial.suggest_float(name, here.low, here.high, step=here.step or None, log=here.log)
    return found


def _given(optuna: Any, params: Mapping[str, Scalar]) -> Any:
    """A sampler that gives what it was given."""

    class Given(optuna.samplers.BaseSampler):
        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            return params[name]

    return Given()


def drawn(
    suggestions: Suggestions, allows: Callable[[Resolved], bool], tries: int = 1000
) -> tuple[int, Resolved] | None:
    """The next configuration that is allowed; the others are told of as failed. Raises ConfigError after `tries`."""
    for _ in range(tries):
        if (asked := suggestions.ask()) is None or allows(asked[1]):
            return asked
        suggestions.tell(asked[0], None)
    raise ConfigError(
        f"none of {tries} configurations is allowed by the constraints", where="constraints", fix="take one of them out"
    )
