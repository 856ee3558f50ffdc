"""The journal that indexes follow, and what is thrown away: chunks added, chunks removed, vectors without chunks."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.corpus import Rows
from fovea.rag.fields import fields
from fovea.rag.types import Scalar
from fovea.retrievers.library import lexicon
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.values import read_metadata, unpack
from fovea.retrievers.library.vectors import matrix, unit

if TYPE_CHECKING:
    import numpy as np

FEWEST_MARKS = 10_000
TIDY_SHARE = 20
"""Segments of the lexical index are written anew where one in so many of their chunks has gone."""


def added(db: Database, since: int, batch: int, dim: int) -> Iterator[Rows]:
    """The chunks that are there now and were added after `since`, in order of `no`, `batch` at a time."""
    import numpy as np

    first = db.one("SELECT min(no) FROM chunks INDEXED BY chunks_added WHERE added > ?", (since,))
    last = (first[0] if first and first[0] is not None else 1 << 62) - 1
    sql = """SELECT c.no, c.document, c.page, v.vector FROM chunks AS c JOIN vectors AS v ON v.id = c.vector
             WHERE c.no > ? ORDER BY c.no LIMIT ?"""
    while True:
        with db.snapshot():
            rows = db.all(sql, (last, batch))
            known = _documents(db, rows[0][0], rows[-1][0]) if rows else {}
        if not rows:
            return
        nos = np.array([row[0] for row in rows], np.int64)
        seen = [_fields(*known[document], page) for _, document, page, _ in rows]
        yield Rows(nos, unit(db, matrix(db, [row[3] for row in rows], dim)), seen)
        last = rows[-1][0]


def removed(db: Database, since: int) -> np.ndarray:
    """The `no` of every chunk removed after `since`, int64, rising."""
    import numpy as np

    rows = db.all("SELECT no FROM removed WHERE sequence > ? ORDER BY no", (since,))
    return np.fromiter((no for (no,) in rows), np.int64, len(rows))


def prune(db: Database) -> int:
    """Drop vectors without chunks, and marks of removed chunks once there are more of them than of chunks."""
    with db.transaction():
        # The two sets of numbers are read from indexes alone; looking at each row would read all vectors.
        unused = "SELECT id FROM vectors EXCEPT SELECT vector FROM chunks"
        dropped = db.run(f"DELETE FROM vectors WHERE id IN ({unused})")
        counts = db.one("SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM chunks)") or (0, 0)
        if counts[0] > max(FEWEST_MARKS, counts[1]):
            db.run("DELETE FROM removed")
            # Without the marks an index that is behind could not know what is gone: it must begin anew.
            db.set_meta("uuid", uuids.uuid4().hex)
    with db.transaction():
        lexicon.tidy(db, TIDY_SHARE)
    db.shrink()
    return dropped


def _documents(db: Database, first: int, last: int) -> dict[int, tuple[str, str, str, dict[str, Scalar]]]:
    """Source, title, media type and metadata of the documents that have chunks from `first` to `last`."""
    sql = """SELECT id, source, title, media_type, metadata FROM documents
             WHERE id IN (SELECT DISTINCT document FROM chunks WHERE no BETWEEN ? AND ?)"""
    rows = db.all(sql, (first, last))
    return {no: (unpack(s), unpack(t), unpack(m), read_metadata(facts, db.path)) for no, s, t, m, facts in rows}


def _fields(source: str, title: str, media_type: str, facts: dict[str, Scalar], page: int | None) -> dict[str, Scalar]:
    return fields(source, title, media_type, page, facts)
