"""Opening a library file: begin one, know one, refuse one."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

from fovea.rag.encoder import Encoder
from fovea.rag.errors import StoreError
from fovea.retrievers.library import chunks, lexicon, situations
from fovea.retrievers.library.database import MAGIC, Database
from fovea.retrievers.library.lock import WriterLock
from fovea.retrievers.library.schema import APPLICATION_ID, FORMAT, SITUATIONS, TABLES

FILE = "library.sqlite"


def exists(path: Path) -> bool:
    """Whether there is a library in the folder `path`."""
    file = path / FILE
    return file.is_file() and file.stat().st_size > 0


def reader(path: Path, encoder: Encoder | None) -> Database:
    """Open for reading what is there."""
    if not exists(path):
        raise nothing_yet(path)
    db = Database(path / FILE, read_only=True)
    try:
        if not _made(db):
            raise nothing_yet(path)
        _refuse_other(db, encoder)
    except BaseException:
        db.close()
        raise
    return db


def writer(path: Path, encoder: Encoder | None, *, reset: bool) -> tuple[Database, WriterLock]:
    """Open for writing what is there, or begin anew, with the right to be the only one."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder of the store: {error.strerror}", where=str(path)) from None
    lock = WriterLock(path)
    try:
        if reset:
            _discard_unreadable(path / FILE)
        return _for_writing(path, encoder, reset), lock
    except BaseException:
        lock.release()
        raise


def _for_writing(path: Path, encoder: Encoder | None, reset: bool) -> Database:
    db = Database(path / FILE, read_only=False)
    try:
        if reset or not _made(db):
            _begin(db, encoder)
        _refuse_other(db, encoder)
        _bring_up(db)
        if db.meta("words") != lexicon.VERSION:
            _index_words(db)
    except BaseException:
        db.close()
        raise
    return db


def _made(db: Database) -> bool:
    return db.one("SELECT 1 FROM sqlite_master WHERE name = 'meta'") is not None


def _begin(db: Database, encoder: Encoder | None) -> None:
    """Make the tables, in place of any that are there, in one transaction."""
    if encoder is None:
        raise StoreError("a new library must be told its encoder", where=str(db.path))
    facts = {
        "uuid": uuid4().hex, "sequence": 0, "encoder": encoder.fingerprint, "dim": encoder.dim,
        "settings": json.dumps(encoder.settings()), "words": lexicon.VERSION,
    }  # fmt: skip
    with db.transaction():
        _drop_tables(db)
        for sql in TABLES:
            db.run(sql)
        for name, value in facts.items():
            db.set_meta(name, value)
        db.run(f"PRAGMA application_id = {APPLICATION_ID}")
        db.run(f"PRAGMA user_version = {FORMAT}")


def _bring_up(db: Database) -> None:
    """Give a library of an older format what it lacks; what it holds stays as it is."""
    if not situations.made(db):
        with db.transaction():
            db.run(SITUATIONS)
            db.run(f"PRAGMA user_version = {FORMAT}")


def _drop_tables(db: Database) -> None:
    db.run("PRAGMA defer_foreign_keys = ON")
    tables = [name for (name,) in db.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
    # Those that refer to others go first, which saves looking for what still refers to each row.
    order = ("lexicon", "removed", "situations", "chunks", "facts", "texts", "documents", "sources", "vectors", "meta")
    for name in order:
        if name in tables:
            db.run(f"DROP TABLE {name}")


def _refuse_other(db: Database, encoder: Encoder | None) -> None:
    if encoder is not None and encoder.fingerprint != (made := db.meta("encoder")):
        raise StoreError(
            f"the vectors were made by another encoder: {db.meta('settings')} ({made}), "
            f"not {json.dumps(encoder.settings())} ({encoder.fingerprint})",
            where=str(db.path),
            fix="fovea ingest --rebuild encodes everything anew; or give the store another path",
        )


def _index_words(db: Database) -> None:
    with db.transaction():
        lexicon.clear(db)
        lexicon.add(db, ((no, text) for no, _, text in situations.indexed(db, chunks.every(db))))
        db.set_meta("words", lexicon.VERSION)


def _discard_unreadable(file: Path) -> None:
    """Delete a library of ours that can no longer be opened, damaged or newer; leave anything else alone."""
    try:
        Database(file, read_only=False).close()
    except StoreError:
        if not ours(file):
            raise
        for suffix in ("-wal", "-shm", ""):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def ours(file: Path) -> bool:
    """Whether the header of the file says that it is a library."""
    try:
        with file.open("rb") as opened:
            header = opened.read(100)
    except OSError:
        return False
    return header.startswith(MAGIC) and int.from_bytes(header[68:72], "big") == APPLICATION_ID


def nothing_yet(path: Path) -> StoreError:
    """The error for reading before anything was written."""
    return StoreError("nothing has been ingested yet", where=str(path), fix="fovea ingest PIPELINE.yaml DOCUMENTS")


def nothing_in(path: str, failed: int) -> StoreError:
    """The error for asking of a library without a chunk."""
    if not failed:
        return StoreError("nothing is in the store", where=path, fix="fovea ingest PIPELINE.yaml DOCUMENTS")
    return StoreError(
        f"nothing is in the store: {failed} source{'s' * (failed > 1)} could not be read",
        where=path,
        fix="fovea status PIPELINE.yaml says why; when mended: fovea retry PIPELINE.yaml",
    )
