"""Listing documents, and the fields they have, under a filter; no text is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fovea.rag.fields import BUILT_IN, kind
from fovea.rag.filters import Filter
from fovea.rag.types import Scalar
from fovea.retrievers.library.database import Database, sound
from fovea.retrievers.library.facts import chunks_matching
from fovea.retrievers.library.values import pack, read_metadata, unpack

BATCH = 512


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document without its text: `length` are its characters, `chunks` and `pages` how many it has."""

    id: str
    source: str
    title: str
    media_type: str
    length: int
    pages: int
    chunks: int
    metadata: dict[str, Scalar]
    updated: str


def listed(db: Database, where: Filter | None = None, after: str = "") -> Iterator[DocumentRow]:
    """The documents that have a chunk which matches, or all, in order of their ids, those behind the id `after`."""
    last: str | bytes = pack(after)
    while True:
        with db.snapshot():
            condition, values = _documents_matching(db, where)
            rows = db.all(
                "SELECT d.name, d.source, d.title, d.media_type, d.length, json_array_length(d.pages), d.metadata, "
                "s.updated, (SELECT count(*) FROM chunks AS c WHERE c.document = d.id) "
                "FROM documents AS d JOIN sources AS s ON s.id = d.owner "
                f"WHERE d.name > ? AND {condition} ORDER BY d.name LIMIT {BATCH}",
                [last, *values],
            )
        for name, source, title, media_type, length, pages, metadata, updated, chunks in rows:
            with sound(db.path, "a document"):
                name, source, title, media_type = map(unpack, (name, source, title, media_type))
                facts = read_metadata(metadata, db.path)
                yield DocumentRow(name, source, title, media_type, length, pages or 0, chunks, facts, updated)
        if len(rows) < BATCH:
            return
        last = rows[-1][0]


def holds(db: Database, name: str, where: Filter | None = None) -> bool:
    """Whether there is a document of this id that has a chunk which matches."""
    condition, values = _documents_matching(db, where)
    return db.one(f"SELECT 1 FROM documents AS d WHERE d.name = ? AND {condition}", [pack(name), *values]) is not None


def fields_of(db: Database, where: Filter) -> dict[str, set[str]]:
    """The fields that the documents which match have, each with its kinds: what filters can name there."""
    found = {field: {sort} for field, sort in BUILT_IN.items()}
    condition, values = _documents_matching(db, where)
    some = f"SELECT d.id FROM documents AS d WHERE {condition}"
    for field, sort in db.all(f"SELECT DISTINCT field, kind FROM facts WHERE document IN ({some})", values):
        found.setdefault(field, set()).add(sort)
    for (stored,) in db.all(f"SELECT d.metadata FROM documents AS d WHERE d.odd AND {condition}", values):
        for field, value in read_metadata(stored, db.path).items():
            found.setdefault(field, set()).add(kind(value))
    return found


def _documents_matching(db: Database, where: Filter | None) -> tuple[str, list[Scalar]]:
    if where is None:
        return "1", []
    condition, values = chunks_matching(db, where)
    return f"d.id IN (SELECT document FROM chunks WHERE {condition})", values
