"""What each stage did: seconds, counts, counted warnings, and which chunks it let through with which scores.

A stage is a context manager. The current trace travels in a context variable, so a component three calls deep can say
`trace.warn("...")` without anybody handing it down, and threads started with a copied context report to it too.
Outside any trace, recording costs nothing and goes nowhere.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fovea.rag.documents import Hit

log = logging.getLogger("fovea")

KEPT_HITS = 200
"""How many hits a stage remembers: enough to explain, bounded for long lists."""


class _Charged(threading.local):
    seconds = 0.0


_charged = _Charged()


def clock() -> float:
    """Seconds, by which stages are timed: `time.perf_counter`, and what was charged to this thread."""
    return time.perf_counter() + _charged.seconds


def charge(seconds: float) -> None:
    """Let the running stages take `seconds` longer than they did: what was looked up costs what making it cost."""
    _charged.seconds += seconds


@dataclass
class Stage:
    """One step of the way; `dropped` gives reasons by chunk id. `began` and `ended` are `time.time_ns()` when it was
    first entered and last left, `error` is the type of what it raised.
    """

    name: str
    seconds: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    notes: dict[str, Any] = field(default_factory=dict)
    kept: list[Hit] | None = None
    dropped: dict[str, str] = field(default_factory=dict)
    began: int = 0
    ended: int = 0
    error: str = ""

    def count(self, **counts: int) -> None:
        """Add to the stage's counters: `stage.count(texts=3)`."""
        self.counts.update(counts)

    def warn(self, message: str, times: int = 1) -> None:
        """Leave a counted warning: nothing is dropped, cut or skipped in silence."""
        if times:
            self.warnings[message] += times

    def note(self, **notes: Any) -> None:
        """Remember a fact about this run of the stage, such as the back-end chosen and why."""
        self.notes.update(notes)

    def keep(self, hits: Iterable[Hit]) -> None:
        """Remember what came out of this stage, for `--explain`."""
        self.kept = list(islice(hits, KEPT_HITS))

    @property
    def hits(self) -> list[tuple[str, float, str]] | None:
        """The chunk id, score and place of what came out, in rank order; None for a stage that gives no hits."""
        return None if self.kept is None else [(h.chunk.id, h.score, h.chunk.where) for h in self.kept]

    def drop(self, hit: Hit, reason: str) -> None:
        """Say why a chunk did not pass."""
        self.dropped[hit.chunk.id] = reason


@dataclass
class Trace:
    """The stages of one run, in order of their start."""

    stages: list[Stage] = field(default_factory=list)
    clock: Callable[[], float] = clock

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a block as a stage; it becomes the current stage inside. A stage of the same name is continued."""
        current = next((s for s in self.stages if s.name == name), None)
        if current is None:
            self.stages.append(current := Stage(name, began=time.time_ns()))
        token, began = _current.set((self, current)), self.clock()
        try:
            yield current
        except Exception as error:
            current.error = type(error).__name__
            raise
        finally:
            current.seconds += self.clock() - began
            current.ended = time.time_ns()
            _current.reset(token)

    def add(self, stages: Iterable[Stage]) -> None:
        """What another process did for this run, its warnings in the log too. Its seconds are its own: those of several
        processes add up to more than has passed.
        """
        for other in stages:
            with self.stage(other.name) as mine:
                mine.count(**other.counts)
                mine.note(**other.notes)
                for message, times in other.warnings.items():
                    warn(message, times)
            mine.seconds += other.seconds

    @property
    def seconds(self) -> float:
        """Seconds over all stages; nested stages count in both."""
        return sum(s.seconds for s in self.stages)

    @property
    def warnings(self) -> Counter[str]:
        """Every warning of every stage, with how often it came."""
        return sum((s.warnings for s in self.stages), Counter())

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {
            "stages": [
                {
                    "name": s.name,
                    "seconds": round(s.seconds, 6),
                    "counts": dict(s.counts),
                    "warnings": dict(s.warnings),
                    "notes": s.notes,
                    **({"hits": [list(h) for h in s.hits]} if s.hits is not None else {}),
                    **({"dropped": s.dropped} if s.dropped else {}),
                }
                for s in self.stages
            ]
        }


_current: ContextVar[tuple[Trace, Stage] | None] = ContextVar("fovea_trace", default=None)


def current() -> Stage:
    """The stage that is running, or a fresh one that nobody reads."""
    active = _current.get()
    return active[1] if active else Stage("untraced")


@contextmanager
def stage(name: str) -> Iterator[Stage]:
    """A stage of the running trace; outside of one, of a trace that nobody reads."""
    active = _current.get()
    with (active[0] if active else Trace()).stage(name) as entered:
        yield entered


def warn(message: str, times: int = 1) -> None:
    """Leave a counted warning with the running stage, and in the log: `times` for as many texts, in one line."""
    if times:
        current().warn(message, times)
        text = message if times == 1 else f"{message} ({times} times)"
        log.warning("%s", text, extra={"warning": message, "times": times})
