"""CacheFile: values by key in one SQLite file that several processes share, each computed by one of them alone.

A value carries the seconds it took, and a checksum; what is damaged counts as missing. Commits survive the death of the
process at any moment. The file is a cache: one that cannot be read is put aside and begun anew.
"""

from __future__ import annotations

import sqlite3
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path

from fovea.rag import trace
from fovea.rag.errors import StoreError
from fovea.rag.version import __version__

FORMAT = 1
WAIT = 60.0
"""Seconds to wait for another process that is writing; a write takes milliseconds."""
STRIPES = 64
"""Files of locks: keys that fall on one wait for each other without need, now and then."""
AT_ONCE = 500
"""Keys in one query; SQLite has a limit."""


def key_of(*parts: str | bytes) -> bytes:
    """A key made of this version and of parts: sixteen bytes of SHA-256, each with its length before it."""
    digest = sha256()
    for part in (__version__, *parts):
        raw = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "little") + raw)
    return digest.digest()[:16]


@contextmanager
def locked(file: Path, *, seconds: float) -> Iterator[None]:
    """Hold a file alone; it falls with the process. Raises StoreError where it cannot be had."""
    try:
        held = sqlite3.connect(file, timeout=seconds, isolation_level=None)
    except sqlite3.Error as error:
        raise StoreError(f"cannot lock it: {error}", where=str(file), fix="check its permissions") from None
    with closing(held):
        try:
            held.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            raise StoreError(f"cannot lock it: {error}", where=str(file), fix="check its permissions") from None
        yield


class CacheFile:
    """`get`, `put`, and a lock by key. One connection a thread is not needed: a worker is one thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: Counter[str] = Counter()
        """By kind, how many values were there."""
        self.made: Counter[str] = Counter()
        """By kind, how many were not."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = self._open()

    def get(self, kind: str, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, float]]:
        """`(value, seconds)` by key, of those that are there; `found` and `made` count them."""
        found = self._read(keys)
        self.found[kind] += len(found)
        self.made[kind] += len(set(keys)) - len(found)
        return found

    def others(self, kind: str, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, float]]:
        """The same once more, with the right to compute them in hand: what another process has just made of those that
        were counted as missing.
        """
        found = self._read(keys)
        self.found[kind] += len(found)
        self.made[kind] -= len(found)
        return found

    def _read(self, keys: Sequence[bytes]) -> dict[bytes, tuple[bytes, float]]:
        found: dict[bytes, tuple[bytes, float]] = {}
        for at in range(0, len(keys), AT_ONCE):
            part = keys[at : at + AT_ONCE]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(f"SELECT key, seconds, sum, value FROM entries WHERE key IN ({marks})", part)
            found.update((key, (value, seconds)) for key, seconds, check, value in rows if zlib.crc32(value) == check)
        return found

    def put(self, entries: Iterable[tuple[bytes, bytes, float]]) -> None:
        """Keep `(key, value, seconds)`, in one commit. Where there is no room, what is computed is not kept, and that
        is said.
        """
        rows = [(key, seconds, zlib.crc32(value), value) for key, value, seconds in entries]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)", rows)
        except sqlite3.OperationalError as error:
            trace.warn(f"{self.path}: not kept, and so computed again: {error}", len(rows))

    @contextmanager
    def only_one(self, kind: str, key: bytes) -> Iterator[None]:
        """Hold the right to compute `key`; others wait. It falls with the process. Locks of one kind do not nest."""
        lock = self.path.parent / "locks" / f"{kind}-{key[0] % STRIPES:02d}"
        lock.parent.mkdir(exist_ok=True)
        with locked(lock, seconds=86_400):
            yield

    def value(
        self, kind: str, key: bytes, compute: Callable[[], bytes], clock: Callable[[], float]
    ) -> tuple[bytes, float, bool]:
        """The value of one key, the seconds it took, and whether it was there; computed by one process alone."""
        if there := self.get(kind, [key]):
            return *there[key], True
        with self.only_one(kind, key):
            if there := self.others(kind, [key]):
                return *there[key], True
            began = clock()
            value = compute()
            seconds = clock() - began
            self.put([(key, value, seconds)])
            return value, seconds, False

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._begin()
        except sqlite3.DatabaseError as error:
            if not self.path.exists() or isinstance(error, sqlite3.OperationalError):
                raise StoreError(f"cannot open the cache: {error}", where=str(self.path)) from None
            aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
            self.path.rename(aside)
            trace.warn(f"{self.path} was damaged and is begun anew; the old one is {aside.name}")
            return self._begin()

    def _begin(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=WAIT, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            with db:
                db.execute(
                    "CREATE TABLE IF NOT EXISTS entries "
                    "(key BLOB PRIMARY KEY, seconds REAL, sum INTEGER, value BLOB) WITHOUT ROWID"
                )
                if db.execute("PRAGMA user_version").fetchone()[0] not in (0, FORMAT):
                    db.execute("DELETE FROM entries")
                db.execute(f"PRAGMA user_version = {FORMAT}")
        except BaseException:
            db.close()
            raise
        return db
