"""Progress of long work: a bar with rate and ETA on a terminal, a line every few seconds elsewhere, nothing when quiet.

A library does not draw: bars appear only inside `with shown():`, which the command line enters.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TextIO


class Bar(Protocol):
    """Where a piece of long work says how far it is."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Say that `amount` more is done."""

    def expect(self, total: float) -> None:
        """Say how much there is in all, once that is known."""


class _Silent:
    def advance(self, amount: float = 1, note: str = "") -> None:
        return None

    def expect(self, total: float) -> None:
        return None


class _Lines:
    """One line every `every` seconds, for logs and pipes."""

    def __init__(
        self,
        label: str,
        total: float | None,
        out: TextIO,
        *,
        every: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.label, self.total, self.out, self.every, self.clock = label, total, out, every, clock
        self.done, self.began = 0.0, clock()
        self.last = self.began

    def expect(self, total: float) -> None:
        self.total = total

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        now = self.clock()
        if now - self.last >= self.every:
            self.last = now
            print(self.line(now, note), file=self.out, flush=True)

    def line(self, now: float, note: str = "") -> str:
        rate = self.done / max(now - self.began, 1e-9)
        of = f"/{self.total:g}" if self.total else ""
        eta = f", {(self.total - self.done) / rate:.0f} s left" if self.total and rate > 0 else ""
        return f"{self.label}: {self.done:g}{of} ({rate:.1f}/s{eta}) {note}".rstrip()


class _Rich:
    def __init__(self, progress: object, task: object) -> None:
        self.progress, self.task = progress, task

    def expect(self, total: float) -> None:
        self.progress.update(self.task, total=total)  # type: ignore[attr-defined]

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.progress.update(self.task, advance=amount, note=note)  # type: ignore[attr-defined]


_shown: ContextVar[bool] = ContextVar("fovea_progress", default=False)


@contextmanager
def shown(on: bool = True) -> Iterator[None]:
    """Draw the bars of the work done inside."""
    token = _shown.set(on)
    try:
        yield
    finally:
        _shown.reset(token)


def is_shown() -> bool:
    """Whether work done here draws its progress."""
    return _shown.get()


@contextmanager
def bar(label: str, total: float | None = None, *, out: TextIO | None = None) -> Iterator[Bar]:
    """A bar for one piece of work: `with bar("encode", len(texts)) as b: ... b.advance(32)`."""
    out = out or sys.stderr
    if not is_shown():
        yield _Silent()
    elif not out.isatty():
        yield _Lines(label, total, out)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(file=out), transient=True) as progress:
            yield _Rich(progress, progress.add_task(label, total=total, note=""))
