"""What changes below some folders, told when it has come to rest: nothing is read while it is still being written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from fovea.pipelines.sources.places import RealPaths
from fovea.pipelines.watching.polling import polled
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn

TICK = 0.1
"""Seconds in which a wish to stop is heard."""
LOOK = 10.0
"""Seconds between two looks at every file where the system's word of changes cannot be read."""
CHANGED, DELETED = 2, 3
"""Kinds of changes, of watchfiles; the third is that something was added."""
PATIENCE = 10
"""Times of rest after which those files that are at rest are told, whatever is still being written beside them."""


@dataclass(frozen=True)
class Changed:
    """Files and folders, by the real path of their folder and their own name; a folder stands for all below it."""

    touched: frozenset[str] = frozenset()
    deleted: frozenset[str] = frozenset()
    """Whose deletion was seen: they are not on a disk that is only away."""
    busy: frozenset[str] = frozenset()
    """Which are still being written."""
    everything: bool = False
    """Whether nothing is known of what changed: all is to be looked at."""


def under(path: str, places: frozenset[str]) -> bool:
    """Whether a path or a folder above it is one of `places`."""
    return bool(places) and any(place in places for place in (path, *map(str, Path(path).parents)))


class Changes:
    """Iterates over what changed, each time once it has rested for `settle` seconds; the first is everything, and so is
    what comes after a folder was away. Changes that `concerns` does not hold for are passed by. It ends when `stop` is
    set. `poll`: look at every file each so many seconds, on disks that do not tell of changes.

    Raises MissingExtra without watchfiles, DocumentError where the system cannot watch so much.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        concerns: Callable[[str], bool],
        *,
        settle: float,
        poll: float | None,
        stop: Event,
    ) -> None:
        self.folders, self.concerns, self.settle, self.poll, self.stop = folders, concerns, settle, poll, stop
        self._last: dict[str, float] = {}
        self._touched: set[str] = set()
        self._deleted: set[str] = set()

    def __iter__(self) -> Iterator[Changed]:
        while not self.stop.is_set():
            watched, everything, since = _identities(self.folders), True, time.monotonic()
            with closing(self._events(list(watched))) as heard:
                for events in heard:
                    self._note(events)
                    if not (everything or self._last):
                        since = time.monotonic()
                    elif self._rested(since, everything):
                        yield self._told(everything)
                        everything, since = False, time.monotonic()
                    if _identities(self.folders) != watched:
                        break

    def _events(self, folders: Sequence[str]) -> Generator[set[tuple[int, str]], None, None]:
        """What watchfiles says: a set each TICK or so, empty where nothing happened."""
        if self.poll is not None or not folders:
            for paths in polled(folders, self.concerns, self.poll or TICK, TICK, self.stop):
                yield {(CHANGED, path) for path in paths}
            return
        watchfiles = require("watchfiles", extra="watch", needed_by="watching folders")
        tick = int(TICK * 1000)  # As all times of watchfiles, in milliseconds.
        try:
            yield from watchfiles.watch(
                *folders, watch_filter=lambda change, path: self.concerns(path), stop_event=self.stop,
                debounce=2 * tick, step=tick // 2, rust_timeout=tick, yield_on_timeout=True,
                ignore_permission_denied=True,
            )  # fmt: skip
        except FileNotFoundError:  # It went just now, which is looked at next.
            return
        except (OSError, RuntimeError) as error:
            if "decode path" in str(error):  # watchfiles ends at any look at a name that is not UTF-8.
                warn(f"a name that is not UTF-8: files are looked at every {LOOK:g} s instead")
                self.poll = LOOK
                return
            raise DocumentError(
                f"the system cannot watch them: {str(error).split(' about ')[0]}",
                where=", ".join(folders),
                fix="look at the files every few seconds instead: --poll 10; on Linux the limits are "
                "fs.inotify.max_user_watches and max_user_instances",
            ) from None

    def _note(self, events: set[tuple[int, str]]) -> None:
        now, places = time.monotonic(), RealPaths()
        for change, path in events:
            place = places.placed(Path(path))
            self._last[place] = now
            if change == DELETED:
                self._deleted.add(place)
            if change != CHANGED or not os.path.isdir(path):  # A folder's own times say nothing of what is in it.
                self._touched.add(place)

    def _rested(self, since: float, everything: bool) -> bool:
        """Whether all is at rest, or what is has waited long enough for the rest of it."""
        now = time.monotonic()
        if now - max(self._last.values(), default=since) >= self.settle:
            return True
        some = everything or any(now - at >= self.settle for at in self._last.values())
        return some and now - since >= PATIENCE * self.settle

    def _told(self, everything: bool) -> Changed:
        now = time.monotonic()
        busy = frozenset(place for place, at in self._last.items() if now - at < self.settle)
        told = Changed(
            frozenset(self._touched - busy),
            frozenset(self._deleted - busy),
            busy,
            everything,
        )
        self._last = {place: at for place, at in self._last.items() if place in busy}
        self._touched &= busy
        self._deleted &= busy
        return told


def _identities(folders: Sequence[Path]) -> dict[str, tuple[int, int]]:
    """The folders that are there, each with what tells it from one of its name that was mounted or made anew."""
    found = {}
    for folder in folders:
        try:
            stat = os.stat(folder)
        except OSError:
            continue
        found[str(folder)] = (stat.st_dev, stat.st_ino)
    return found
