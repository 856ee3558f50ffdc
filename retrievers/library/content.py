"""Writing a source's documents and chunks, and taking them out again. Always inside a transaction of the caller."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from fovea.rag.errors import DocumentError, StoreError
from fovea.rag.fields import fields, kind
from fovea.rag.types import Chunk, Document
from fovea.retrievers.library import lexicon, situations, vectors
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.schema import BLOCK
from fovea.retrievers.library.values import any_odd, odd, pack, unpack


def put(
    db: Database,
    owner: int,
    documents: Iterable[tuple[Document, Sequence[Chunk]]],
    *,
    makers: tuple[str, str, str],
    said: Mapping[str, str],
    sequence: int,
) -> tuple[int, int]:
    """Write documents with their chunks; returns how many of each. Raises StoreError for a chunk without a vector.

    `makers` are the fingerprints of encoder, pooler and situator, which say whose vectors the chunks have
    (`vectors.chunk_keys`); `said` is what is said of a chunk's place, by its id.
    """
    n_documents = n_chunks = 0

    def written() -> Iterator[tuple[int, str]]:
        nonlocal n_documents, n_chunks
        for document, chunks in documents:
            number = _put_document(db, owner, document)
            nos = _put_chunks(db, number, document, chunks, vectors.chunk_keys(document, chunks, *makers), sequence)
            heard = [said.get(c.id, "") for c in chunks] if said else [""] * len(chunks)
            situations.add(db, zip(nos, heard))
            yield from ((no, situations.together(text, c.text)) for no, text, c in zip(nos, heard, chunks))
            n_documents, n_chunks = n_documents + 1, n_chunks + len(chunks)

    lexicon.add(db, written())
    return n_documents, n_chunks


def take_out(db: Database, owner: int, sequence: int) -> None:
    """Remove every document of a source, with all that hangs on it; leave a mark for the indexes that follow."""
    for (number,) in db.all("SELECT id FROM documents WHERE owner = ?", (owner,)):
        lexicon.remove(db, number)
        situations.remove(db, number)
        db.run("INSERT INTO removed SELECT no, ? FROM chunks WHERE document = ?", (sequence, number))
        for table in ("chunks", "facts", "texts"):
            db.run(f"DELETE FROM {table} WHERE document = ?", (number,))
        db.run("DELETE FROM documents WHERE id = ?", (number,))
    lexicon.settle(db)


def _put_document(db: Database, owner: int, document: Document) -> int:
    name = pack(document.id)
    other = db.one("SELECT s.name FROM documents d JOIN sources s ON s.id = d.owner WHERE d.name = ?", (name,))
    if other is not None:
        raise DocumentError(
            f"two documents have the id {document.id!r}; the other one came from {unpack(other[0])!r}",
            where=document.source,
            fix="give each document its own id",
        )
    metadata = dict(document.metadata)
    row = (
        owner, name, pack(document.source), pack(document.title), pack(document.media_type), json.dumps(metadata),
        json.dumps(document.pages), len(document.text),
        any_odd(fields(document.source, document.title, document.media_type, None, metadata)),
    )  # fmt: skip
    columns = "owner, name, source, title, media_type, metadata, pages, length, odd"
    db.run(f"INSERT INTO documents ({columns}) VALUES ({vectors.holes(row)})", row)
    found = db.one("SELECT id FROM documents WHERE name = ?", (name,))
    assert found
    number = int(found[0])
    blocks = range(0, len(document.text), BLOCK)
    texts = ((number, at // BLOCK, pack(document.text[at : at + BLOCK])) for at in blocks)
    db.many("INSERT INTO texts VALUES (?, ?, ?)", texts)
    facts = [(number, f, kind(v), v) for f, v in metadata.items() if not (odd(v) or odd(f))]
    db.many("INSERT INTO facts VALUES (?, ?, ?, ?)", facts)
    return number


def _put_chunks(
    db: Database, number: int, document: Document, chunks: Sequence[Chunk], keys: Sequence[str], sequence: int
) -> range:
    _refuse_wrong(document, chunks)
    known = vectors.ids(db, dict.fromkeys(keys))
    if lacking := next((c for c, key in zip(chunks, keys) if key not in known), None):
        raise StoreError(
            f"the chunk {lacking.where} has no vector yet", where=str(db.path), fix="add_vectors comes first"
        )
    last = db.one("SELECT seq FROM sqlite_sequence WHERE name = 'chunks'")
    nos = range(last[0] + 1 if last else 1, (last[0] if last else 0) + 1 + len(chunks))

    def rows() -> Iterator[tuple[object, ...]]:
        for no, c, key in zip(nos, chunks, keys):
            yield no, number, c.start, c.end, c.page, bytes.fromhex(c.id), known[key], sequence

    db.many("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows())
    return nos


def _refuse_wrong(document: Document, chunks: Sequence[Chunk]) -> None:
    """Raise DocumentError for a chunk that is no slice of the document, or comes twice."""
    seen: set[tuple[int, int]] = set()
    for c in chunks:
        if c.document_id != document.id or c.text != document.text[c.start : c.end] or c.start < 0:
            raise DocumentError(f"the chunk {c.where} is not that slice of the document {document.id!r}")
        if (c.start, c.end) in seen:
            raise DocumentError(f"the chunk {c.where} comes twice")
        seen.add((c.start, c.end))
