"""Rounds of watching: wait until something has changed and come to rest, bring the store in step, say what was done."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

from fovea.pipelines.ingest_report import IngestReport
from fovea.pipelines.loaders.file_loader import missing
from fovea.pipelines.sources.globs import passed_by
from fovea.pipelines.sources.own import Own
from fovea.pipelines.sources.places import whole
from fovea.pipelines.watching.changes import Changed, Changes
from fovea.pipelines.watching.round import Round
from fovea.rag.errors import DocumentError, FoveaError, LockedError, require

AGAIN, LATEST = 0.5, 30.0
"""Seconds after which a store is asked for again in which another process writes; after another error of a round, twice
as many each time, up to the latest.
"""


@dataclass(frozen=True)
class Watched:
    """What one round did, and what of it could not be done; `report` is None where all of it waits for another."""

    report: IngestReport | None
    problems: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return {**(self.report.to_dict() if self.report else {}), "problems": list(self.problems)}


def watch(
    ran: Callable[[Callable[[Round], IngestReport]], Round],
    store: Path,
    folders: Sequence[str | Path],
    *,
    settle: float,
    poll: float | None,
    forget: bool,
    stop: Event,
) -> Iterator[Watched]:
    """The rounds of `Pipeline.watch`, which `ran` runs; raises what can be known before the first."""
    if poll is None:
        require("watchfiles", extra="watch", needed_by="watching folders")
    roots = [_folder(path) for path in folders]
    changes = Changes(roots, Concerns(roots, store), settle=settle, poll=poll, stop=stop)
    return _rounds(lambda changed: ran(lambda run: run.follow(roots, changed, stop, forget=forget)), changes, stop)


def _rounds(follow: Callable[[Changed], Round], changes: Iterable[Changed], stop: Event) -> Iterator[Watched]:
    """Every round that did something, or has something new to say."""
    said = set[str]()
    for number, changed in enumerate(changes):
        for watched in _round(follow, changed, stop, first=number == 0):
            if number == 0 or watched.report is None or _did(watched.report) or set(watched.problems) - said:
                yield watched
            said = set(watched.problems)


def _round(follow: Callable[[Changed], Round], changed: Changed, stop: Event, *, first: bool) -> Iterator[Watched]:
    """What one round did; before it, once each, why it could not be yet: another process writes to the store, or what
    ended it, which raises of the first round, as an ingest does.
    """
    said, wait = set[str](), AGAIN
    while not stop.is_set():
        try:
            run = follow(changed)
        except FoveaError as error:
            locked = isinstance(error, LockedError)
            if first and not locked:
                raise
            if str(error) not in said:
                yield Watched(None, (str(error),))
            said.add(str(error))
            wait = AGAIN if locked else min(2 * wait, LATEST)
            stop.wait(wait)
            continue
        yield Watched(run.report, tuple(run.problems()))
        return


def _did(report: IngestReport) -> bool:
    return bool(report.added or report.changed or report.moved or report.removed or report.failed)


def _folder(path: str | Path) -> Path:
    if not str(path):
        raise DocumentError("a path is empty", where="watch", fix="name a folder, such as .")
    found = Path(whole(path))
    if not found.exists():
        raise missing(found, os.listdir(found.parent) if found.parent.is_dir() else [])
    if not found.is_dir():
        raise DocumentError("not a folder", where=found.as_posix(), fix=f"watch its folder: {found.parent.as_posix()}")
    return found


class Concerns:
    """Whether a change at a path may be one of documents: not in stores, nor in what an ingest passes by."""

    def __init__(self, roots: Sequence[Path], store: Path) -> None:
        self.roots, self.own = roots, Own(store)

    def __call__(self, path: str) -> bool:
        """Whether it may; `path` begins as one of the folders does."""
        at = Path(path)
        return any(at.is_relative_to(root) and self._below(root, at.relative_to(root)) for root in self.roots)

    def _below(self, root: Path, path: Path) -> bool:
        if any(map(passed_by, path.parts)):
            return False
        if self.own.is_store(root) and not self.own.documents([*path.parts[:1]]):
            return False
        return not any(self.own.is_store(root / parent) for parent in [*path.parents][:-1])
