"""One SQLite connection: transactions, a lock for threads, and errors that say what to do."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fovea.rag.errors import StoreError
from fovea.rag.fields import suffix
from fovea.rag.trace import warn
from fovea.retrievers.library.schema import APPLICATION_ID, FORMAT

BUSY_SECONDS = 20.0
PAGE_BYTES = 8192
"""Five vectors of 384 numbers fill a page of 8 KiB; two would fill 4 KiB and waste a quarter."""
PERMISSIONS = "check the permissions of the file and its folder"
MAGIC = b"SQLite format 3\0"


class Unreadable(StoreError):
    """A file that no permission and no waiting would make readable here: damaged, foreign, or of a newer Fovea."""


class Database:
    """An open library file. Reads of several threads take turns; a transaction holds the others off."""

    def __init__(self, path: Path, *, read_only: bool) -> None:
        self.path, self.read_only = path, read_only
        self._lock, self._writing = threading.RLock(), False
        with plain_errors(path):
            self._connection = connect(path, read_only=read_only)

    def all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Every row of a query."""
        with self._lock, plain_errors(self.path):
            return self._connection.execute(sql, values).fetchall()

    def one(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, or None."""
        with self._lock, plain_errors(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return row

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; returns how many rows it changed."""
        with self._lock, plain_errors(self.path):
            return self._connection.execute(sql, values).rowcount

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for every row."""
        with self._lock, plain_errors(self.path):
            self._connection.executemany(sql, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of the block or nothing of it; on disk when the block ends. Inside of another it is a part of that."""
        with self._lock:
            if self._writing:
                yield
                return
            self.run("BEGIN IMMEDIATE")
            self._writing = True
            try:
                yield
                self.run("COMMIT")
            except BaseException:
                with suppress(StoreError):
                    if self._connection.in_transaction:
                        self.run("ROLLBACK")
                raise
            finally:
                self._writing = False

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads of the block see one commit, whatever another process commits meanwhile."""
        with self._lock:
            if self._connection.in_transaction:
                yield
                return
            self.run("BEGIN")
            try:
                yield
            finally:
                self.run("COMMIT")

    def shrink(self) -> None:
        """Give unused space back to the disk; says so where a reader that does not end keeps it from being done yet."""
        with self._lock, plain_errors(self.path):
            # As a script, since `execute` would stop after the first page.
            self._connection.executescript("PRAGMA incremental_vacuum")
            busy, *_ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            warn(f"{self.path}: another program is reading; the space comes back when it has ended")

    def meta(self, name: str) -> Any:
        """One of the library's own facts, or None."""
        row = self.one("SELECT value FROM meta WHERE name = ?", (name,))
        return row[0] if row else None

    def set_meta(self, name: str, value: Any) -> None:
        """Remember one of the library's own facts."""
        self.run(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode, after making sure that the file is ours."""
    uri = f"file:{quote(str(path.resolve()))}"
    if path.exists() and path.stat().st_size:
        refuse_foreign(path, uri)
    connection = _reading(path, uri) if read_only else _open(uri + "?mode=rwc")
    try:
        if not read_only:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA cache_size = -32768")
        connection.execute("PRAGMA cell_size_check = ON")
        # Bytes stand for names that are no UTF-8 (`fovea.retrievers.library.values.pack`).
        connection.create_function(
            "suffix", 1, lambda name: suffix(name) if isinstance(name, str) else "", deterministic=True
        )
    except BaseException:
        connection.close()
        raise
    return connection


def _reading(path: Path, uri: str) -> sqlite3.Connection:
    """A connection for reading, also where the folder may not be written to: SQLite would make its -shm file there. All
    is in the file then, unless a -wal file with changes lies beside it.
    """
    try:
        return _open(uri + "?mode=ro")
    except sqlite3.OperationalError as error:
        wal = path.with_name(path.name + "-wal")
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if code not in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY) or (wal.exists() and wal.stat().st_size):
            raise
        return _open(uri + "?mode=ro&immutable=1")


def refuse_foreign(path: Path, uri: str) -> None:
    """Raise StoreError for a file that is no library, or one of a newer format. Nothing is written to it."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise Unreadable(
                "this file is not a Fovea library, or its beginning is damaged",
                where=str(path),
                fix="move it away and run `fovea ingest`, or give the store another path",
            )
    connection = _reading(path, uri)
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()
    if application != APPLICATION_ID and (tables or application):
        raise Unreadable(
            "this SQLite file is not a Fovea library",
            where=str(path),
            fix="give the store another path",
        )
    if version > FORMAT:
        raise Unreadable(
            f"the library has format {version}, which is newer than format {FORMAT} of this Fovea",
            where=str(path),
            fix="pip install --upgrade fovea-rag, or give the store another path",
        )


@contextmanager
def plain_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from None
    except OSError as error:
        raise StoreError(f"cannot open the library: {error.strerror}", where=str(path), fix=PERMISSIONS) from None
    except UnicodeDecodeError as error:  # In the message about a damaged file, or in a text of one.
        raise damaged(path, str(error)) from None


def damaged(path: Path, what: str) -> Unreadable:
    """The error for a file that does not hold what was put into it."""
    return Unreadable(
        f"the library is damaged: {what}",
        where=str(path),
        fix="put back a copy of the file, or make the store anew from the documents: fovea ingest --rebuild",
    )


@contextmanager
def sound(path: Path, what: str) -> Iterator[None]:
    """Turn what values of a wrong type or length cause into the error for a damaged file: only damage makes them."""
    try:
        yield
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise damaged(path, f"{what} cannot be read ({error})") from None


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """The same error, with what it means and what to do."""
    extended = getattr(error, "sqlite_errorcode", None) or 0
    code = extended & 0xFF
    if is_full(error):
        return disk_full(path, str(error))
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR) or "decode to UTF-8" in str(error):
        return damaged(path, str(error))
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreError(
            f"the library stayed locked for {BUSY_SECONDS:.0f} seconds by another program",
            where=str(path),
            fix="close whatever else has the file open, and run the same command again",
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return StoreError(f"cannot open or write the library: {error}", where=str(path), fix=PERMISSIONS)
    return StoreError(f"the library cannot be used: {error}", where=str(path), fix="fovea check looks for damage")


def is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite could not write for want of room."""
    writing = (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_TRUNCATE)
    code = getattr(error, "sqlite_errorcode", None) or 0
    return code & 0xFF == sqlite3.SQLITE_FULL or code in (*writing, sqlite3.SQLITE_IOERR_SHMSIZE)


def disk_full(path: Path, reason: str) -> StoreError:
    """The error for a write that had no room."""
    free = ""
    with suppress(OSError):
        free = f" ({shutil.disk_usage(path.parent).free / 2**20:,.0f} MiB are free there)"
    return StoreError(
        f"disk full, or a limit on file sizes reached, while writing{free}: {reason}; nothing that was stored is lost",
        where=str(path),
        fix="free some space and run the same command again: it goes on where it stopped",
    )
