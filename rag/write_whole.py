"""Files that are there whole or not at all, whenever their writer dies.

    write_whole(path, lambda part: part.write_text("all of it"))

What is not finished lies in a folder `.fovea-part-*` beside its place, which its writer holds locked: the next one to
write there removes the folders of the dead.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

PREFIX = ".fovea-part-"
LOCK = PREFIX + "lock"
"""The lock's name in such a folder, where the file that is written stands beside it."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file of that name elsewhere, then put it in place, with its bytes on the disk before the name.

    Folders that lack are made; a link stays one; a device or a pipe, which cannot be replaced, is written as it comes.
    Raises OSError that names `path`; what was there before is there then.
    """
    try:
        path = Path(os.path.realpath(path))
        if path.exists() and not path.is_file():
            write(path)
            return
        with part_folder(path.parent) as folder:
            write(folder / path.name)
            put(folder / path.name, path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None


def refuse_unwritable(path: Path) -> None:
    """Raise the OSError that `write_whole` would raise for want of permission or room for a name, before the work."""
    path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.is_file() or not path.exists():
        with part_folder(path.parent) as folder:
            (folder / path.name).touch()


def put(part: Path, path: Path) -> None:
    """Move a finished file, on the same disk, to its name: first its bytes are on the disk, then the name is. Who may
    read and write what was there may do so with what is there then.
    """
    flush(part)
    if path.is_file():
        shutil.copymode(path, part)
    part.replace(path)
    _flush_folder(path.parent)


def flush(path: Path) -> None:
    """Wait until the bytes of a file are on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def part_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in `parent` for what is not finished, removed at the end, or by the next caller if this dies."""
    parent.mkdir(parents=True, exist_ok=True)
    remove_dead(parent)
    folder, lock = _locked(parent)
    try:
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def remove_dead(parent: Path) -> None:
    """Remove what writers that died have left in `parent`."""
    for left in parent.glob(PREFIX + "*"):
        with suppress(sqlite3.OperationalError):  # Its writer lives, and holds the lock.
            with closing(_hold(left)):
                shutil.rmtree(left, ignore_errors=True)
            shutil.rmtree(left, ignore_errors=True)  # Where an open file cannot be removed, the lock was left.


def _locked(parent: Path) -> tuple[Path, sqlite3.Connection]:
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
        with suppress(sqlite3.OperationalError):  # Removed by another writer before it was locked.
            lock = _hold(folder)
            if (folder / LOCK).exists():
                return folder, lock
            lock.close()


def _hold(folder: Path) -> sqlite3.Connection:
    """SQLite's lock on an empty file, which the system lets go when the process dies."""
    held = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except BaseException:
        held.close()
        raise
    return held


def _flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where a folder can be opened."""
    with suppress(PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
