"""Reading the lexical index: the chunks in it, a row each, and for a term the rows that hold it."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fovea.retrievers.library.database import Database, sound
from fovea.retrievers.library.segment import postings, stored

if TYPE_CHECKING:
    import numpy as np

K1, B, SMALLEST_IDF = 1.2, 0.75, 1e-6
"""The constants of SQLite FTS5's `bm25()`."""
REMEMBERED = 64 << 20
"""Bytes of the columns that are kept from one question to the next."""
DENSE = 8
"""A term that one row in so many holds, or more, has a number for every row."""
_BLOCKS = """SELECT asked.value, s.id, p.terms, p.sizes, p.rows, p.counts
    FROM json_each(?) AS asked CROSS JOIN segments AS s CROSS JOIN postings AS p ON p.rowid = (
        SELECT rowid FROM postings WHERE segment = s.id AND first <= asked.value ORDER BY first DESC LIMIT 1)
    WHERE instr(char(10) || p.terms || char(10), char(10) || asked.value || char(10))"""
"""The block of each asked term in each segment that has it."""


@dataclass(frozen=True)
class Column:
    """A term that `held` rows hold: `rows` int32 rising, or None for all rows; how often each holds it, `counts`; and
    `added`, float32, what it adds to their scores.
    """

    held: int
    rows: np.ndarray | None
    counts: np.ndarray
    added: np.ndarray

    def add(self, scores: np.ndarray) -> None:
        """Add to the scores of all rows what the term adds."""
        if self.rows is None:
            scores += self.added
        else:
            scores[self.rows] += self.added

    def at(self, some: np.ndarray) -> np.ndarray:
        """How often some rows, which rise, hold the term; float64."""
        import numpy as np

        if self.rows is None:
            return self.counts[some].astype(np.float64)
        if not len(self.rows):
            return np.zeros(len(some))
        places = np.minimum(np.searchsorted(self.rows, some), len(self.rows) - 1)
        return np.where(self.rows[places] == some, self.counts[places], 0.0)

    @property
    def bytes(self) -> int:
        """What it takes of memory."""
        return sum(int(part.nbytes) for part in (self.rows, self.counts, self.added) if part is not None)


class Terms:
    """The rows of the lexical index as of one commit, in rising order of `no`, and columns of them as they are asked.

    `alive` are the rows whose chunks are there, `count` of them; `lengths` are the terms of each row, int64. Takes 41
    bytes a chunk and, for the columns, at most `REMEMBERED`.
    """

    def __init__(self, db: Database, before: Terms | None = None) -> None:
        self._db = db
        self._columns: OrderedDict[str, Column] = OrderedDict()
        self._bytes = 0
        self._segments: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._start: dict[int, int] = {}
        self._read_rows(before._segments if before is not None else {})
        self.count = int(self.alive.sum())
        mean = int(self.lengths[self.alive].sum()) / max(1, self.count)
        self.slow = K1 * (1 - B + B * self.lengths / (mean or 1))

    def idf(self, held: int) -> float:
        """How much a term counts that so many chunks hold."""
        return max(SMALLEST_IDF, math.log((self.count - held + 0.5) / (held + 0.5)))

    def columns(self, terms: Iterable[str]) -> Mapping[str, Column]:
        """The columns of terms, those of the last questions from memory; O(postings of the others)."""
        found = {term: self._columns[term] for term in terms if term in self._columns}
        if new := [term for term in terms if term not in found]:
            for term, column in self._read_columns(new).items():
                found[term] = self._columns[term] = column
                self._bytes += column.bytes
        for term in found:
            self._columns.move_to_end(term)
        while self._bytes > REMEMBERED and len(self._columns) > 1:
            _, column = self._columns.popitem(last=False)
            self._bytes -= column.bytes
        return found

    def _read_rows(self, known: Mapping[int, tuple[np.ndarray, np.ndarray]]) -> None:
        import numpy as np

        rows = 0
        for (number,) in self._db.all("SELECT id FROM segments ORDER BY first"):
            self._segments[number] = found = known[number] if number in known else self._read(number)
            self._start[number] = rows
            rows += len(found[0])
        none = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.nos, self.lengths = (np.concatenate(part) for part in zip(none, *self._segments.values()))
        dead = np.array([no for (no,) in self._db.all("SELECT no FROM dead")], np.int64)
        self.alive = ~np.isin(self.nos, dead, assume_unique=True)

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        row = self._db.one("SELECT nos, lengths FROM segments WHERE id = ?", (number,))
        assert row
        with sound(self._db.path, "the lexical index"):
            return stored(*row)

    def _read_columns(self, terms: list[str]) -> dict[str, Column]:
        import numpy as np

        parts: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {term: [] for term in terms}
        with sound(self._db.path, "the lexical index"):
            for term, number, *block in self._db.all(_BLOCKS, (json.dumps(terms),)):
                rows, counts = postings(term, *block)
                if len(rows) and rows[-1] >= len(self._segments[number][0]):
                    raise ValueError("a block of terms has a row that is not there")
                parts[term].append((self._start[number], rows, counts))
        found = {}
        for term, some in parts.items():
            some.sort(key=lambda part: part[0])
            rows = np.concatenate([np.zeros(0, np.int32), *(start + rows.astype(np.int32) for start, rows, _ in some)])
            counts = np.concatenate([np.zeros(0, np.uint8), *(counts for *_, counts in some)])
            if self.count < len(self.alive):
                kept = self.alive[rows]
                rows, counts = rows[kept], counts[kept]
            found[term] = self._column(rows, counts)
        return found

    def _column(self, rows: np.ndarray, counts: np.ndarray) -> Column:
        """The column of postings in rising order of rows."""
        import numpy as np

        held = len(rows)
        if held * DENSE >= len(self.nos):
            every = np.zeros(len(self.nos), counts.dtype)
            every[rows] = counts
            counts, slow = every, self.slow
        else:
            slow = self.slow[rows]
        added = self.idf(held) * (counts * (K1 + 1) / (counts + slow))
        return Column(held, rows if slow is not self.slow else None, counts, added.astype(np.float32))
