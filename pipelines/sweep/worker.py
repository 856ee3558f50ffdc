"""Worker: a process that runs trials, watched from outside: what hangs, eats memory or dies takes nothing with it."""

from __future__ import annotations

import logging
import os
import re
import time
from collections import Counter
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from fovea.pipelines.child import LOOK, Child, death
from fovea.pipelines.sweep.trial import Done, Job, Task, Trials, Unfit
from fovea.rag.errors import FoveaError, require
from fovea.rag.trace import log

_TIMES = re.compile(r" \((\d+) times\)$")


class Warnings(logging.Handler):
    """Counts what is warned of, in the place of a line each time."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.counts: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        message = record.getMessage()
        times = _TIMES.search(message)
        self.counts[_TIMES.sub("", message)] += int(times[1]) if times else 1

    def taken(self) -> dict[str, int]:
        """What was counted since the last time."""
        found, self.counts = dict(self.counts), Counter()
        return found


class Worker:
    """One process, started when the first job comes and again after it has been killed. `run` waits for the job."""

    def __init__(self, task: Task, memory_mb: int | None = None) -> None:
        self.task, self.memory_mb = task, memory_mb
        if memory_mb is not None:
            resident_mb(os.getpid())  # says now, and not in the middle of a trial, what is not installed
        self._child = Child(_serve, task)

    def run(self, job: Job, seconds: float | None = None) -> Done:
        """What came of a job, in at most `seconds`; a reason where the process was stopped, or died."""
        began = time.perf_counter()
        process, pipe = self._child.ready()
        try:
            pipe.send(job)
            while not pipe.poll(LOOK):
                if why := self._trouble(process, time.perf_counter() - began, seconds):
                    self.kill()
                    return Done(job.trial, seconds=time.perf_counter() - began, failed=why)
            return pipe.recv()
        except (EOFError, OSError):
            code = self.kill()
            return Done(job.trial, seconds=time.perf_counter() - began, failed=death(code))

    def _trouble(self, process: BaseProcess, spent: float, seconds: float | None) -> str:
        if seconds is not None and spent > seconds:
            return f"stopped: over the limit of {seconds:g} seconds"
        if self.memory_mb is not None and (used := resident_mb(process.pid)) > self.memory_mb:
            return f"stopped: {used:,.0f} MB of memory, over the limit of {self.memory_mb:,}"
        return "" if process.is_alive() else death(process.exitcode)

    def kill(self) -> int | None:
        """End the process, whatever it does; returns its exit code."""
        return self._child.kill()


def _serve(task: Task, pipe: Connection) -> None:
    """The process: job after job, until the pipe is gone."""
    log.addHandler(warnings := Warnings())
    log.propagate = False
    trials: Trials | None = None
    while True:
        try:
            job: Job = pipe.recv()
        except (EOFError, OSError):
            return
        began = time.perf_counter()
        try:
            trials = trials or Trials(task)
            outcomes, stages = trials.run(job)
            done = Done(job.trial, outcomes, stages, time.perf_counter() - began, warnings.taken())
        except Exception as error:  # of any component: the trial has failed, and the next one is run
            spent, fatal = time.perf_counter() - began, isinstance(error, Unfit)
            done = Done(job.trial, seconds=spent, warnings=warnings.taken(), failed=_reason(error), fatal=fatal)
        pipe.send(done)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, (FoveaError, Unfit)) else f"{type(error).__name__}: {error}"


def resident_mb(pid: int | None) -> float:
    """Resident memory of a process in MB; 0 for one that is gone."""
    psutil: Any = require("psutil", extra="sweep", needed_by="limits.memory_mb")
    try:
        return float(psutil.Process(pid).memory_info().rss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0
