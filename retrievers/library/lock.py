"""One writer at a time, by a lock that the operating system lets go when the process dies.

The lock is SQLite's own exclusive lock on an empty file: the same code on every system, never left behind by a dead
holder, and not inherited by forked children. Who holds it is written beside it, for the message of the next in line.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fovea.rag.errors import LockedError, StoreError
from fovea.retrievers.library.database import disk_full, is_full

LOCK, HOLDER = "writer.lock", "writer.json"


class WriterLock:
    """The right to write to the store in `folder`; raises LockedError that names the present holder."""

    def __init__(self, folder: Path) -> None:
        self._holder = folder / HOLDER
        try:
            self._connection = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None, check_same_thread=False)
            self._connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                self._connection.close()
                raise locked(folder) from None
            if is_full(error):
                raise disk_full(folder / LOCK, str(error)) from None
            raise StoreError(
                f"cannot lock the store for writing: {error}", where=str(folder / LOCK), fix="check its permissions"
            ) from None
        try:
            self._holder.write_text(json.dumps(myself()), encoding="utf-8")
        except OSError:
            self._forget()

    def release(self) -> None:
        """Let the next writer in."""
        self._forget()
        self._connection.close()

    def _forget(self) -> None:
        with suppress(OSError):  # Only the next writer's message is poorer for it.
            self._holder.unlink(missing_ok=True)


def myself() -> dict[str, Any]:
    """Who is asking: process, machine, command, and the time."""
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200],
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def locked(folder: Path) -> LockedError:
    """The error for whoever comes second."""
    try:
        holder = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        who = "process {pid} on {host} ({command}), since {since}".format(**holder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        who = "another process"
    return LockedError(
        f"{who}, is writing to this store" if "," in who else f"{who} is writing to this store",
        where=str(folder),
        fix="wait until it has ended, or end it; searching goes on meanwhile",
    )
