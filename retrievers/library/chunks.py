"""Reading documents and chunks: slices of the stored text, each proved by its hash."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fovea.rag.errors import QueryError
from fovea.rag.types import Chunk, Document, Scalar
from fovea.retrievers.library.database import Database, damaged, sound
from fovea.retrievers.library.schema import BLOCK
from fovea.retrievers.library.values import pack, read_metadata, unpack
from fovea.retrievers.library.vectors import batches, holes

_CHUNK = """SELECT c.no, c.document, c.start, c.stop, c.page, c.name, d.name, d.source, d.title, d.metadata,
            d.media_type
            FROM chunks AS c JOIN documents AS d ON d.id = c.document"""
_BLOCKS = f"""SELECT c.no, t.text FROM chunks AS c JOIN texts AS t ON t.document = c.document
             AND t.block BETWEEN c.start / {BLOCK} AND (c.stop - 1) / {BLOCK}"""
_DOCUMENT = "SELECT id, name, source, title, media_type, metadata, pages FROM documents"
BATCH = 512


def document(db: Database, name: str) -> Document:
    """A whole document; raises QueryError for an unknown id."""
    with db.snapshot():
        row = db.one(f"{_DOCUMENT} WHERE name = ?", (pack(name),))
        found = _document(db, row) if row else None
    if found is None:
        raise QueryError(
            f"there is no document {name!r}", where=str(db.path), fix="fovea status p.yaml --all lists sources"
        )
    return found


def documents(db: Database) -> Iterator[Document]:
    """Every document, one at a time."""
    last = 0
    while True:
        with db.snapshot():
            row = db.one(f"{_DOCUMENT} WHERE id > ? ORDER BY id LIMIT 1", (last,))
            found = _document(db, row) if row else None
        if row is None or found is None:
            return
        yield found
        last = row[0]


def document_sources(db: Database) -> Iterator[tuple[str, str]]:
    """The id and the source of every document, in the order in which they were added."""
    return ((unpack(name), unpack(source)) for name, source in db.all("SELECT name, source FROM documents ORDER BY id"))


def by_no(db: Database, nos: Sequence[int]) -> dict[int, Chunk]:
    """Chunks by `no`; those that are gone are left out."""
    found: dict[int, Chunk] = {}
    for part in batches([int(n) for n in nos]):
        found.update(_chunks(db, f"c.no IN ({holes(part)})", part))
    return found


def every(db: Database) -> Iterator[tuple[int, Chunk]]:
    """Every chunk with its `no`, in the order in which they were added."""
    last = 0
    while found := _chunks(db, f"c.no > ? ORDER BY c.no LIMIT {BATCH}", (last,)):
        yield from found
        last = found[-1][0]


def of_document(db: Database, name: str) -> list[Chunk]:
    """The chunks of a document, in order of their start."""
    return [chunk for _, chunk in _chunks(db, "d.name = ? ORDER BY c.start, c.stop", (pack(name),))]


def numbers(db: Database, ids: Sequence[str]) -> dict[str, int]:
    """The `no` of each chunk id that is there."""
    found: dict[str, int] = {}
    for part in batches([bytes.fromhex(i) for i in ids]):
        rows = db.all(f"SELECT name, no FROM chunks WHERE name IN ({holes(part)})", part)
        found.update((name.hex(), no) for name, no in rows)
    return found


def neighbours(db: Database, chunk: Chunk, before: int, after: int) -> list[Chunk]:
    """Up to `before` and `after` chunks around `chunk` in its document, itself included, in order."""
    with db.snapshot():
        span = (chunk.start, chunk.end)
        here = _chunks(db, "d.name = ? AND c.start = ? AND c.stop = ?", (pack(chunk.document_id), *span))
        if not here or here[0][1].id != chunk.id:
            raise QueryError(f"the library has no chunk {chunk.where}", fix="ask again: its document has changed")
        side = "d.name = ? AND (c.start, c.stop) {} (?, ?) ORDER BY c.start {}, c.stop {} LIMIT ?"
        place = (pack(chunk.document_id), *span)
        earlier = _chunks(db, side.format("<", "DESC", "DESC"), (*place, max(0, before)))
        later = _chunks(db, side.format(">", "", ""), (*place, max(0, after)))
    return [found for _, found in (*earlier[::-1], *here, *later)]


def _join(rows: Sequence[tuple[Any, ...]]) -> str:
    return "".join(unpack(row[0]) for row in rows)


def _document(db: Database, row: tuple[Any, ...]) -> Document:
    number, name, source, title, media_type, metadata, pages = row
    with sound(db.path, "a document"):
        whole = _join(db.all("SELECT text FROM texts WHERE document = ? ORDER BY block", (number,)))
        starts = tuple(json.loads(pages))
        facts = read_metadata(metadata, db.path)
        return Document(unpack(name), whole, unpack(source), unpack(title), unpack(media_type), facts, starts)


def _chunks(db: Database, condition: str, values: Sequence[Any]) -> list[tuple[int, Chunk]]:
    """The chunks that meet a condition, with their `no`, in order. Rows and texts are of the same commit."""
    with db.snapshot():
        rows = db.all(f"{_CHUNK} WHERE {condition}", values)
        blocks: dict[int, list[str]] = {}
        for part in batches([row[0] for row in rows]):
            with sound(db.path, "a text"):
                for no, stored in db.all(f"{_BLOCKS} WHERE c.no IN ({holes(part)}) ORDER BY c.no, t.block", part):
                    blocks.setdefault(no, []).append(unpack(stored))
    facts = {stored: read_metadata(stored, db.path) for stored in {row[9] for row in rows}}
    with sound(db.path, "a chunk"):
        return [(row[0], _chunk(db, row, "".join(blocks.get(row[0], ())), facts[row[9]])) for row in rows]


def _chunk(db: Database, row: tuple[Any, ...], around: str, facts: Mapping[str, Scalar]) -> Chunk:
    """A chunk, sliced out of the blocks around it; raises StoreError unless it is what was stored."""
    _, _, start, stop, page, stored, name, source, title, _, media_type = row
    skipped = start // BLOCK * BLOCK
    content = around[start - skipped : stop - skipped]
    chunk = Chunk(unpack(name), start, stop, content, unpack(source), unpack(title), page, facts, unpack(media_type))
    if bytes.fromhex(chunk.id) != stored:
        raise damaged(db.path, f"{chunk.where} does not hold the text that was stored")
    return chunk
