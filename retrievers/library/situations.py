"""What is said of the places of chunks: words by which a chunk is found beside its own. Chunks of which nothing is said
have no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from fovea.rag.types import Chunk
from fovea.retrievers.library.database import Database, sound
from fovea.retrievers.library.values import pack, unpack
from fovea.retrievers.library.vectors import batches, holes


def add(db: Database, said: Iterable[tuple[int, str]]) -> None:
    """Keep what is said of new chunks, by `no`."""
    db.many("INSERT INTO situations VALUES (?, ?)", ((no, pack(text)) for no, text in said if text))


def remove(db: Database, document: int) -> None:
    """Forget what was said of the chunks of a document, by the document's number."""
    db.run("DELETE FROM situations WHERE no IN (SELECT no FROM chunks WHERE document = ?)", (document,))


def of_chunks(db: Database, nos: Sequence[int]) -> dict[int, str]:
    """What is said of chunks, by `no`; a library that an older Fovea began, opened for reading, has nothing."""
    found: dict[int, str] = {}
    if not made(db):
        return found
    with sound(db.path, "a situation"):
        for part in batches([int(no) for no in nos]):
            rows = db.all(f"SELECT no, text FROM situations WHERE no IN ({holes(part)})", part)
            found.update((no, unpack(stored)) for no, stored in rows)
    return found


def indexed(db: Database, chunks: Iterable[tuple[int, Chunk]]) -> Iterator[tuple[int, Chunk, str]]:
    """Chunks with the text that stands for each in the lexical index."""
    some = made(db) and db.one("SELECT 1 FROM situations LIMIT 1") is not None
    for no, chunk in chunks:
        row = db.one("SELECT text FROM situations WHERE no = ?", (no,)) if some else None
        with sound(db.path, "a situation"):
            said = unpack(row[0]) if row else ""
        yield no, chunk, together(said, chunk.text)


def together(said: str, text: str) -> str:
    """A chunk's text behind what is said of its place."""
    return f"{said}\n{text}" if said else text


def made(db: Database) -> bool:
    """Whether the library has a place for them."""
    return db.one("SELECT 1 FROM sqlite_master WHERE name = 'situations'") is not None
