"""Reading documents and chunks: slices of the stored text, each proved by its hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from rag.errors import QueryError
from rag.types import Chunk, Document
from retrievers.library.database import Database, damaged, sound
from retrievers.library.schema import BLOCK
from retrievers.library.values import pack, read_metadata, unpack
from retrievers.library.vectors import batches, holes

_CHUNK = """SELECT c.no, c.document, c.start, c.stop, c.page, c.name, d.name, d.source, d.title, d.metadata
            FROM chunks AS c JOIN documents AS d ON d.id = c.document"""
_DOCUMENT = "SELECT id, name, source, title, media_type, metadata, pages FROM documents"
_WITH_TEXT = f"""SELECT c.no, c.document, c.start, c.stop, c.page, c.name, d.name, d.source, d.title, d.metadata, t.text
                 FROM chunks AS c JOIN documents AS d ON d.id = c.document JOIN texts AS t ON t.document = c.document
                 AND t.block BETWEEN c.start / {BLOCK} AND max(c.start, c.stop - 1) / {BLOCK}"""
BATCH = 512


def document(db: Database, name: str) -> Document:
    """A whole document; raises QueryError for an unknown id."""
    row = db.one(f"{_DOCUMENT} WHERE name = ?", (pack(name),))
    if row is None:
        raise QueryError(
            f"there is no document {name!r}", where=str(db.path), fix="fovea status --all lists the sources"
        )
    return _document(db, row)


def documents(db: Database) -> Iterator[Document]:
    """Every document, one at a time."""
    last = 0
    while (row := db.one(f"{_DOCUMENT} WHERE id > ? ORDER BY id LIMIT 1", (last,))) is not None:
        yield _document(db, row)
        last = row[0]


def by_no(db: Database, nos: Sequence[int]) -> dict[int, Chunk]:
    """Chunks by `no`; those that are gone are left out. One query for many, since every question comes through here."""
    found: dict[int, Chunk] = {}
    for part in batches([int(n) for n in nos]):
        rows = db.all(f"{_WITH_TEXT} WHERE c.no IN ({holes(part)}) ORDER BY c.no, t.block", part)
        for no, blocks in groupby(rows, key=itemgetter(0)):
            row, *more = blocks
            content = _slice([row[-1:], *(r[-1:] for r in more)], row[2], row[3])
            found[no] = _chunk(db, row[:-1], content)
    return found


def every(db: Database) -> Iterator[tuple[int, Chunk]]:
    """Every chunk with its `no`, in the order in which they were added."""
    last = 0
    while rows := db.all(f"{_CHUNK} WHERE c.no > ? ORDER BY c.no LIMIT {BATCH}", (last,)):
        for row in rows:
            yield row[0], _chunk(db, row)
        last = rows[-1][0]


def every_of(db: Database, document: int) -> Iterator[tuple[int, Chunk]]:
    """Every chunk of one document, by the document's number, with its `no`."""
    last = 0
    while rows := db.all(f"{_CHUNK} WHERE c.document = ? AND c.no > ? ORDER BY c.no LIMIT {BATCH}", (document, last)):
        for row in rows:
            yield row[0], _chunk(db, row)
        last = rows[-1][0]


def of_document(db: Database, name: str) -> list[Chunk]:
    """The chunks of a document, in order of their start."""
    rows = db.all(f"{_CHUNK} WHERE d.name = ? ORDER BY c.start, c.stop", (pack(name),))
    return [_chunk(db, row) for row in rows]


def numbers(db: Database, ids: Sequence[str]) -> dict[str, int]:
    """The `no` of each chunk id that is there."""
    found: dict[str, int] = {}
    for part in batches([bytes.fromhex(i) for i in ids]):
        rows = db.all(f"SELECT name, no FROM chunks WHERE name IN ({holes(part)})", part)
        found.update((name.hex(), no) for name, no in rows)
    return found


def neighbours(db: Database, chunk: Chunk, before: int, after: int) -> list[Chunk]:
    """Up to `before` and `after` chunks around `chunk` in its document, itself included, in order."""
    here = db.one(
        f"{_CHUNK} WHERE d.name = ? AND c.start = ? AND c.stop = ?", (pack(chunk.document_id), chunk.start, chunk.end)
    )
    if here is None or here[5].hex() != chunk.id:
        raise QueryError(f"the library has no chunk {chunk.where}", fix="ask again: its document has changed meanwhile")
    place = (here[1], chunk.start, chunk.end)
    side = f"{_CHUNK} WHERE c.document = ? AND (c.start, c.stop) {{}} (?, ?) ORDER BY c.start {{}}, c.stop {{}} LIMIT ?"
    rows = db.all(side.format("<", "DESC", "DESC"), (*place, max(0, before)))[::-1]
    rows += [here, *db.all(side.format(">", "", ""), (*place, max(0, after)))]
    return [_chunk(db, row) for row in rows]


def text(db: Database, document: int, start: int, stop: int) -> str:
    """The characters `[start, stop)` of a document, from the blocks that hold them."""
    first, last = start // BLOCK, max(start, stop - 1) // BLOCK
    rows = db.all(
        "SELECT text FROM texts WHERE document = ? AND block BETWEEN ? AND ? ORDER BY block", (document, first, last)
    )
    return _slice(rows, start, stop)


def _slice(rows: Sequence[tuple[Any, ...]], start: int, stop: int) -> str:
    """Characters `[start, stop)` out of the blocks that hold them."""
    before = start - start % BLOCK
    return _join(rows)[start - before : stop - before]


def _join(rows: Sequence[tuple[Any, ...]]) -> str:
    return "".join(unpack(row[0]) for row in rows)


def _document(db: Database, row: tuple[Any, ...]) -> Document:
    number, name, source, title, media_type, metadata, pages = row
    with sound(db.path, "a document"):
        whole = _join(db.all("SELECT text FROM texts WHERE document = ? ORDER BY block", (number,)))
        starts = tuple(json.loads(pages))
        facts = read_metadata(metadata, db.path)
        return Document(unpack(name), whole, unpack(source), unpack(title), unpack(media_type), facts, starts)


def _chunk(db: Database, row: tuple[Any, ...], content: str | None = None) -> Chunk:
    _, number, start, stop, page, stored, name, source, title, metadata = row
    with sound(db.path, "a chunk"):
        content = text(db, number, start, stop) if content is None else content
        facts = read_metadata(metadata, db.path)
        chunk = Chunk(unpack(name), start, stop, content, unpack(source), unpack(title), page, facts)
        if bytes.fromhex(chunk.id) != stored:
            raise damaged(db.path, f"{chunk.where} does not hold the text that was stored")
        return chunk
