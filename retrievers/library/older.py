"""The lexical index of formats 1 and 2, SQLite's FTS5, for readers: the next writer puts ours in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fovea.retrievers.library.database import Database
from fovea.retrievers.library.terms import Column, Terms

if TYPE_CHECKING:
    import numpy as np


def is_older(db: Database) -> bool:
    """Whether the library is of such a format."""
    return db.one("SELECT 1 FROM sqlite_master WHERE name = 'segments'") is None


class OlderTerms(Terms):
    """The rows and columns of FTS5's tables; a common word takes some tenths of a second once in 100,000 chunks."""

    def _read_rows(self, known: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        import numpy as np

        rows = self._db.all("SELECT id, sz FROM lexicon_docsize ORDER BY id")
        self.nos = np.array([no for no, _ in rows], np.int64)
        self.lengths = np.array([_number(size) for _, size in rows], np.int64)
        self.alive = np.ones(len(rows), bool)
        self._db.run("CREATE VIRTUAL TABLE IF NOT EXISTS temp.lexicon_words USING fts5vocab(main, lexicon, instance)")

    def _read_columns(self, terms: list[str]) -> dict[str, Column]:
        import numpy as np

        sql = "SELECT doc, count(*) FROM temp.lexicon_words WHERE term = ? GROUP BY doc ORDER BY doc"
        found = {}
        for term in terms:
            rows = self._db.all(sql, (term,))
            nos, counts = (np.array([row[i] for row in rows], np.int64) for i in (0, 1))
            found[term] = self._column(np.searchsorted(self.nos, nos), counts)
        return found


def _number(stored: bytes) -> int:
    """One of SQLite's varints: seven bits a byte, the highest first."""
    number = 0
    for byte in stored:
        number = number << 7 | byte & 127
    return number
