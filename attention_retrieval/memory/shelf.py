"""Shelf: a folder of files that took long to make, each under a key, up to so many bytes.

    KEY.cache    the value, whatever its writer writes; a use is noted as its time of change
    KEY.json     what it is, for people: never needed to use the value
    .fovea-part-*   what is not finished: `fovea.rag.write_whole`, whose next writer removes the folders of the dead

A value is there whole or not at all. Keys are hashes of all that decides the value, so that one that is found is the
one that is wanted; several processes may use a folder at once, and a file that another one has taken away is made anew.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fovea.rag import trace
from fovea.rag.errors import FoveaError
from fovea.rag.write_whole import part_folder, put, remove_dead

ABANDONED = 3600.0
"""Seconds after which a KEY.json whose value never came was left by a writer that died."""
_KEY = re.compile(r"[0-9A-Za-z_-]{1,128}")
_used: Counter[Path] = Counter()
"""Which values this process is using, and how often."""
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Entry:
    """A value on the shelf; `used` is when it last was, in seconds since 1970, `bytes` count what is said of it too."""

    key: str
    path: Path
    bytes: int
    used: float
    about: Mapping[str, Any]


class Shelf:
    """`limit` is in bytes: where a new value would exceed it, those that were not used for longest go, never one that
    this process is using. Nothing is made before the first `put`.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.limit = Path(os.path.abspath(folder)), limit

    def find(self, key: str) -> Path | None:
        """Where the value of `key` lies, noted as used now; None where there is none."""
        path = self._path(key)
        try:
            with suppress(PermissionError):  # A folder that may only be read serves as well.
                _touch(path)
            return path if path.is_file() else None
        except OSError:
            return None

    def __contains__(self, key: str) -> bool:
        """Whether there is a value; that this was asked is not a use of it."""
        return self._path(key).is_file()

    def put(self, key: str, write: Callable[[Path], object], about: Mapping[str, Any]) -> Path | None:
        """Let `write` fill the file that becomes the value of `key`; returns where it lies.

        None, with a warning that says why, where it cannot be kept: no room on the disk, or more bytes than `limit`.
        """
        path = self._path(key)
        try:
            with part_folder(self.folder) as part:
                write(part / path.name)
                (part / "about.json").write_text(json.dumps(about, ensure_ascii=True), "utf-8")
                size = _size(part / path.name) + _size(part / "about.json")
                if size > self.limit:
                    self._unkept(f"it takes {size:,} bytes, and the limit is {self.limit:,}")
                    return None
                self._make_room(size, key)
                _touch(part / path.name)
                put(part / "about.json", self._about(key))
                put(part / path.name, path)
        except OSError as error:
            self._unkept(error.strerror or str(error))
            return None
        except FoveaError as error:
            self._unkept(error.what)
            return None
        return path

    @contextmanager
    def using(self, key: str) -> Iterator[None]:
        """Inside, no `put` of this process takes the value of `key` away; at the end the limit holds again."""
        path = self._path(key)
        with _lock:
            _used[path] += 1
        try:
            yield
        finally:
            with _lock:
                _used[path] -= 1
                if not _used[path]:
                    del _used[path]
            with suppress(OSError):
                self._make_room(0)

    def drop(self, key: str) -> None:
        """Take a value away: it is stale, or damaged."""
        for path in (self._path(key), self._about(key)):
            with suppress(OSError):
                path.unlink()

    def entries(self) -> list[Entry]:
        """All that there is, what was not used for longest first."""
        return [
            Entry(path.stem, path, size, used / 1e9, _read(self._about(path.stem)))
            for used, path, size in self._there()
        ]

    def clean(self) -> None:
        """Remove what writers that died have left."""
        if not self.folder.is_dir():
            return
        remove_dead(self.folder)
        for about in self.folder.glob("*.json"):
            with suppress(OSError):
                if not self._path(about.stem).exists() and time.time() - about.stat().st_mtime > ABANDONED:
                    about.unlink()

    def _there(self) -> list[tuple[int, Path, int]]:
        """When each value was last used (ns), where it lies, and its bytes, in that order. Linear in the values."""
        found = []
        for path in self.folder.glob("*.cache") if self.folder.is_dir() else ():
            with suppress(FileNotFoundError):  # Taken away by another process.
                state = path.stat()
                found.append((state.st_mtime_ns, path, state.st_size + _size(self._about(path.stem))))
        return sorted(found)

    def _make_room(self, size: int, replaced: str = "") -> None:
        """Until `size` bytes more fit, or, where nothing is to come, all but what was used last has gone; the value of
        `replaced` will go in any case.
        """
        there = [(path, mine) for _, path, mine in self._there() if path.stem != replaced]
        total = size + sum(mine for _, mine in there)
        last = not size and there[-1:] and there[-1][1] <= self.limit
        for path, mine in there[:-1] if last else there:
            if total <= self.limit:
                return
            with _lock:
                if not _used[path]:
                    self.drop(path.stem)
                    total -= mine

    def _unkept(self, why: str) -> None:
        trace.warn(f"a text that was read cannot be kept in {self.folder}, and is read anew at the next use: {why}")

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"a key is a hash, of letters and digits, got {key!r}")
        return self.folder / f"{key}.cache"

    def _about(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _touch(path: Path) -> None:
    now = time.time_ns()
    os.utime(path, ns=(now, now))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _read(path: Path) -> dict[str, Any]:
    """What is said of a value; nothing where that is lost."""
    try:
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
