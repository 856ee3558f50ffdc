"""Looking for damage: everything is read once and compared with what it was made from."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache

from fovea.rag.errors import StoreError
from fovea.rag.printable import counted
from fovea.rag.tables import Table, header_above, tables
from fovea.rag.terms import index_terms
from fovea.rag.types import Chunk
from fovea.retrievers.library import chunks, lexicon, situations
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.schema import BROUGHT, FORMAT, lacking
from fovea.retrievers.library.segment import Segment
from fovea.retrievers.library.values import unpack
from fovea.retrievers.library.vectors import TOLERANCE, document_digest, matrix, pooled_key, text_digest, vector_key

SHOWN = 5
"""Findings of one kind that are named; the rest are counted."""
BATCH = 2000


def problems(db: Database) -> list[str]:
    """What is wrong with the library file, in sentences."""
    found: list[str] = []
    with db.snapshot():
        for check in (_file, _schema, _counts, _contents, _vectors):
            found += _some(check, db)
    return found


def _some(check: Callable[[Database], Iterator[str]], db: Database) -> list[str]:
    """The first findings of a check, and how many more there are; an error that ends it is a finding."""
    found: list[str] = []
    try:
        found.extend(check(db))
    except StoreError as error:
        found.append(error.what)
    more = [f"... and {len(found) - SHOWN} more of this kind"] if len(found) > SHOWN else []
    return found[:SHOWN] + more


def _file(db: Database) -> Iterator[str]:
    for (line,) in db.all("PRAGMA integrity_check"):
        if line != "ok":
            yield f"SQLite says: {line}"
    for table, row, parent, _ in db.all("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a row of {parent} that is not there"


def _schema(db: Database) -> Iterator[str]:
    older = db.one("SELECT 1 FROM pragma_user_version WHERE user_version < ?", (FORMAT,))
    for name in lacking(name for (name,) in db.all("SELECT name FROM sqlite_master")):
        if name != "situations" and not (older and name in BROUGHT):  # Which are not there until the next writing.
            yield f"{name} is not there"


def _counts(db: Database) -> Iterator[str]:
    sql = """SELECT s.name, s.documents, s.chunks, count(DISTINCT d.id), count(c.no)
             FROM sources s LEFT JOIN documents d ON d.owner = s.id LEFT JOIN chunks c ON c.document = d.id
             GROUP BY s.id HAVING s.documents != count(DISTINCT d.id) OR s.chunks != count(c.no)"""
    for name, documents, n, real_documents, real in db.all(sql):
        wanted = f"{counted(documents, 'documents')} and {counted(n, 'chunks')}"
        yield f"{unpack(name)} should have {wanted}, and has {real_documents} and {real}"
    for (no,) in db.all("SELECT no FROM chunks WHERE no IN (SELECT no FROM removed)"):
        yield f"chunk {no} is there and also marked as removed"
    for name, length in db.all("SELECT name, length FROM documents"):
        if len(chunks.document(db, unpack(name)).text) != length:
            yield f"the document {unpack(name)!r} should have {length} characters"


def _contents(db: Database) -> Iterator[str]:
    """Chunks hold what was stored, have the vector of their text, and the lexical index has just their words."""
    made_by = str(db.meta("encoder"))
    poolers, situators = (json.loads(str(db.meta(kind) or "[]")) for kind in ("poolers", "situators"))

    @lru_cache(maxsize=1)  # Chunks of a document follow each other: its text is read once.
    def makers(document_id: str) -> list[tuple[str, str]]:
        document = chunks.document(db, document_id)
        digests = (text_digest(document.text) if poolers else "", document_digest(document) if situators else "")
        return [(whole, maker) for whole, known in zip(digests, (poolers, situators)) for maker in known]

    @lru_cache(maxsize=1)
    def tables_of(document_id: str) -> tuple[str, list[Table]]:
        document = chunks.document(db, document_id)
        return document.text, tables(document.text, document.media_type)

    def read(chunk: Chunk) -> str:
        text, found = tables_of(chunk.document_id)
        header = header_above(found, chunk.start, chunk.end, text)
        return f"{header}\n{chunk.text}" if header else chunk.text

    def is_right(key: str, chunk: Chunk) -> bool:
        plain = key == vector_key(chunk.text, made_by)  # So are those of a Fovea that knew no tables.
        return (
            plain
            or key == vector_key(read(chunk), made_by)
            or any(key == pooled_key(whole, chunk, made_by, maker) for whole, maker in makers(chunk.document_id))
        )

    held: Counter[str] = Counter()
    occurs: Counter[str] = Counter()
    for no, chunk, text in situations.indexed(db, chunks.every(db)):
        mine = index_terms(text)
        occurs.update(mine)
        held.update(set(mine))
        yield from _key(db, no, chunk, is_right)
    if db.meta("words") == lexicon.VERSION and db.one("SELECT 1 FROM sqlite_master WHERE name = 'segments'"):
        yield from _lexicon(db, held, occurs)


def _key(db: Database, no: int, chunk: Chunk, is_right: Callable[[str, Chunk], bool]) -> Iterator[str]:
    row = db.one("SELECT key FROM vectors WHERE id = (SELECT vector FROM chunks WHERE no = ?)", (no,))
    if row is None:
        yield f"{chunk.where} has no vector"
    elif not is_right(row[0].hex(), chunk):
        yield f"{chunk.where} has the vector of another text"


def _lexicon(db: Database, held: Counter[str], occurs: Counter[str]) -> Iterator[str]:
    import numpy as np

    there = np.array([no for (no,) in db.all("SELECT no FROM chunks ORDER BY no")], np.int64)
    dead = np.array([no for (no,) in db.all("SELECT no FROM dead ORDER BY no")], np.int64)
    nos, indexed, counts = [np.zeros(0, np.int64)], Counter[str](), Counter[str]()
    for (number,) in db.all("SELECT id FROM segments ORDER BY first"):
        one = lexicon.read(db, number)
        one = Segment.merged([one], [~np.isin(one.nos, dead)])
        nos.append(one.nos)
        indexed.update(dict(zip(one.terms, np.diff(one.ends, prepend=0).tolist())))
        starts = np.append(0, one.ends[:-1])[: len(one.terms)]
        counts.update(dict(zip(one.terms, np.add.reduceat(one.counts, starts).tolist() if len(starts) else [])))
    rows = np.concatenate(nos)
    if (np.diff(rows) <= 0).any():
        yield "the segments of the lexical index are in no order"
    for no in np.setdiff1d(there, rows).tolist():
        yield f"chunk {no} is not in the lexical index"
    for no in np.setdiff1d(rows, there).tolist():
        yield f"the lexical index has a chunk {no} that is not there"
    for word in sorted(indexed.keys() | held.keys()):
        if (indexed[word], counts[word]) != (held[word], occurs[word]):
            yield f"the lexical index is wrong about the word {word!r}"


def _vectors(db: Database) -> Iterator[str]:
    import numpy as np

    dim, last = int(db.meta("dim") or 0), 0
    while rows := db.all("SELECT id, vector FROM vectors WHERE id > ? ORDER BY id LIMIT ?", (last, BATCH)):
        lengths = np.linalg.norm(matrix(db, [v for _, v in rows], dim), axis=1)
        for (number, _), length in zip(rows, lengths):
            if not abs(length - 1) <= TOLERANCE:
                yield f"vector {number} has the length {length:.4f}, not 1"
        last = rows[-1][0]
