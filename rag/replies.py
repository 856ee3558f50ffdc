"""What models replied, kept by what they were asked: the same words to the same model cost once, on this machine.

One SQLite file in the cache folder (`fovea.rag.models.cache_dir`), which holds replies and hashes of questions, never
the questions. Deleting it loses nothing but money.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag.errors import StoreError
from fovea.rag.models import cache_dir

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE = 500
"""Values in one statement: older SQLite takes no more than 999."""
BUSY_SECONDS = 20.0


class Replies:
    """An open file of replies, for several threads and processes. Raises StoreError where it cannot be used."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_dir() / "replies.sqlite"
        self._lock = threading.Lock()
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.execute("CREATE TABLE IF NOT EXISTS replies (key TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The replies there are, by key."""
        found: dict[str, str] = {}
        with self._lock, self._errors():
            for at in range(0, len(keys), AT_ONCE):
                part = list(keys[at : at + AT_ONCE])
                holes = ", ".join("?" * len(part))
                found.update(self._db.execute(f"SELECT key, text FROM replies WHERE key IN ({holes})", part))
        return found

    def put(self, key: str, text: str) -> None:
        """Keep one reply, in one durable commit."""
        with self._lock, self._errors():
            self._db.execute("INSERT OR REPLACE INTO replies VALUES (?, ?)", (key, text))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"replies of models cannot be kept here: {error}",
                where=str(self.path),
                fix="delete the file if it is damaged, or set FOVEA_CACHE to another folder",
            ) from None
