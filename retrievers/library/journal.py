"""The journal that indexes follow, and what is thrown away: chunks added, chunks removed, vectors without chunks."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rag.corpus import Rows
from rag.errors import StoreError
from rag.types import Scalar
from retrievers.library import lexicon
from retrievers.library.database import MAGIC, Database
from retrievers.library.schema import APPLICATION_ID
from retrievers.library.values import read_metadata
from retrievers.library.vectors import matrix

if TYPE_CHECKING:
    import numpy as np

FEWEST_MARKS = 10_000


def added(db: Database, since: int, batch: int, dim: int) -> Iterator[Rows]:
    """The chunks that are there now and were added after `since`, in order of `no`, `batch` at a time."""
    import numpy as np

    first = db.one("SELECT min(no) FROM chunks INDEXED BY chunks_added WHERE added > ?", (since,))
    last = (first[0] if first and first[0] is not None else 1 << 62) - 1
    sql = """SELECT c.no, c.document, v.vector FROM chunks AS c JOIN vectors AS v ON v.id = c.vector
             WHERE c.no > ? ORDER BY c.no LIMIT ?"""
    while True:
        with db.snapshot():
            rows = db.all(sql, (last, batch))
            known = _metadata(db, rows[0][0], rows[-1][0]) if rows else {}
        if not rows:
            return
        nos = np.array([no for no, _, _ in rows], np.int64)
        yield Rows(nos, matrix(db, [v for _, _, v in rows], dim), [known[document] for _, document, _ in rows])
        last = rows[-1][0]


def removed(db: Database, since: int) -> np.ndarray:
    """The `no` of every chunk removed after `since`, int64, rising."""
    import numpy as np

    rows = db.all("SELECT no FROM removed WHERE sequence > ? ORDER BY no", (since,))
    return np.fromiter((no for (no,) in rows), np.int64, len(rows))


def prune(db: Database) -> int:
    """Drop vectors without chunks, and marks of removed chunks once there are more of them than of chunks."""
    with db.transaction():
        dropped = db.run("DELETE FROM vectors WHERE id NOT IN (SELECT vector FROM chunks)")
        counts = db.one("SELECT (SELECT count(*) FROM removed), (SELECT count(*) FROM chunks)") or (0, 0)
        if counts[0] > max(FEWEST_MARKS, counts[1]):
            db.run("DELETE FROM removed")
            # Without the marks an index that is behind could not know what is gone: it must begin anew.
            db.set_meta("uuid", uuids.uuid4().hex)
    lexicon.tidy(db)
    db.shrink()
    return dropped


def drop_tables(db: Database) -> None:
    """Empty the file, inside a transaction of the caller."""
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    db.run("PRAGMA defer_foreign_keys = ON")
    order = ("lexicon", "removed", "chunks", "facts", "texts", "documents", "sources", "vectors", "meta")
    for name in sorted((n for (n,) in db.all(tables)), key=lambda n: order.index(n) if n in order else len(order)):
        if db.one("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)):
            db.run(f'DROP TABLE "{name}"')


def discard_unreadable(file: Path) -> None:
    """Delete a library of ours that can no longer be opened, damaged or newer; leave anything else alone."""
    try:
        Database(file, read_only=False).close()
    except StoreError:
        if not _ours(file):
            raise
        for suffix in ("-wal", "-shm", ""):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def _ours(file: Path) -> bool:
    """Whether the header of the file says that it is a library."""
    if not file.is_file():
        return False
    with file.open("rb") as opened:
        header = opened.read(100)
    return header.startswith(MAGIC) and int.from_bytes(header[68:72], "big") == APPLICATION_ID


def _metadata(db: Database, first: int, last: int) -> dict[int, dict[str, Scalar]]:
    """The metadata of the documents that have chunks from `first` to `last`."""
    sql = (
        "SELECT id, metadata FROM documents WHERE id IN (SELECT DISTINCT document FROM chunks WHERE no BETWEEN ? AND ?)"
    )
    return {document: read_metadata(stored, db.path) for document, stored in db.all(sql, (first, last))}
