"""Sparse vectors of texts: kept in a file by the text's hash, so that a text is read once, and searched as postings.

scores(q) = sum over terms t of q of q_t c_t        for every row c, exactly: postings of t are the rows with a c_t
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from fovea.rag import trace
from fovea.retrievers.sparse_model import Weights

if TYPE_CHECKING:
    import numpy as np

AT_ONCE = 500
"""Rows in one question to the file, which takes so many variables at least."""


class Postings:
    """The rows of one collection, by term; O(numbers in it) bytes, 8 each."""

    def __init__(self, rows: Sequence[Weights]) -> None:
        import numpy as np

        self._rows = len(rows)
        none = Weights(np.zeros(0, np.int32), np.zeros(0, np.float32))
        terms = np.concatenate([row.terms for row in rows] or [none.terms])
        owners = np.repeat(np.arange(len(rows), dtype=np.int32), [len(row.terms) for row in rows])
        order = np.argsort(terms, kind="stable")
        self._owners, self._weights = owners[order], np.concatenate([r.weights for r in rows] or [none.weights])[order]
        self._terms, self._starts = np.unique(terms[order], return_index=True)
        self._starts = np.append(self._starts, len(terms))

    def scores(self, query: Weights) -> np.ndarray:
        """The inner product of the query with every row, float64 `(rows,)`. O(postings of the query's terms)."""
        import numpy as np

        scores = np.zeros(self._rows)
        places = np.searchsorted(self._terms, query.terms)
        for place, term, weight in zip(places.tolist(), query.terms.tolist(), query.weights.tolist()):
            if place < len(self._terms) and self._terms[place] == term:
                a, b = self._starts[place : place + 2]
                scores[self._owners[a:b]] += weight * self._weights[a:b]
        return scores


class Kept:
    """Rows by text in a file; a file that cannot be written or read is said, and costs time only."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def get(self, texts: Sequence[str]) -> dict[str, Weights]:
        """The rows there are, by text."""
        import numpy as np

        if self._path is None or not self._path.exists():
            return {}
        found: dict[bytes, Weights] = {}
        by_hash = {_hash(text): text for text in texts}
        try:
            with closing(self._open()) as db:
                for some in _slices(list(by_hash)):
                    marks = ",".join("?" * len(some))
                    for key, terms, weights in db.execute(f"SELECT * FROM rows WHERE text IN ({marks})", some):
                        found[key] = Weights(np.frombuffer(terms, "<i4"), np.frombuffer(weights, "<f4"))
        except sqlite3.Error as error:
            trace.warn(
                f"{self._path} cannot be read ({error}), and its texts are encoded again; delete it to mend that"
            )
            return {}
        return {by_hash[key]: row for key, row in found.items()}

    def put(self, rows: Mapping[str, Weights]) -> None:
        """Keep rows; what was kept before a stop stays."""
        values = [
            (_hash(t), r.terms.astype("<i4").tobytes(), r.weights.astype("<f4").tobytes()) for t, r in rows.items()
        ]
        self._write("INSERT OR REPLACE INTO rows VALUES (?, ?, ?)", values)

    def forget_others(self, texts: Sequence[str]) -> None:
        """Forget the rows of all other texts."""
        if self._path is None or not self._path.exists():
            return
        here = {_hash(text) for text in texts}
        try:
            with closing(self._open()) as db:
                gone = [key for (key,) in db.execute("SELECT text FROM rows") if key not in here]
        except sqlite3.Error:  # said when it was read
            return
        self._write("DELETE FROM rows WHERE text = ?", [(key,) for key in gone])

    def _write(self, sql: str, values: Sequence[tuple[bytes, ...]]) -> None:
        if self._path is None or not values:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._open()) as db, db:
                db.execute("CREATE TABLE IF NOT EXISTS rows (text BLOB PRIMARY KEY, terms BLOB, weights BLOB)")
                db.executemany(sql, values)
        except (sqlite3.Error, OSError) as error:
            trace.warn(f"sparse vectors are not kept in {self._path}, and are made anew by the next process: {error}")

    def _open(self) -> sqlite3.Connection:
        assert self._path is not None
        return sqlite3.connect(self._path, timeout=20)


def _hash(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _slices(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[a : a + AT_ONCE] for a in range(0, len(keys), AT_ONCE)]
