"""Opening a library file: begin one, know one, refuse one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from uuid import uuid4

from fovea.rag.encoder import Encoder
from fovea.rag.errors import StoreError
from fovea.rag.trace import warn
from fovea.retrievers.library import chunks, lexicon, situations
from fovea.retrievers.library.database import MAGIC, Database, Unreadable, damaged, plain_errors
from fovea.retrievers.library.lock import WriterLock
from fovea.retrievers.library.schema import APPLICATION_ID, BROUGHT, FORMAT, LEXICON, SITUATIONS, TABLES, lacking

FILE = "library.sqlite"


def exists(path: Path) -> bool:
    """Whether there is a library in the folder `path`; raises StoreError where one may not look."""
    file = path / FILE
    with plain_errors(file):
        return file.is_file() and file.stat().st_size > 0


def reader(path: Path, encoder: Encoder | None) -> Database:
    """Open for reading what is there."""
    if not exists(path):
        raise nothing_yet(path)
    db = Database(path / FILE, read_only=True)
    try:
        if not _made(db):
            raise nothing_yet(path)
        _refuse_incomplete(db)
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
            _set_aside_damaged(path / FILE)
        return _for_writing(path, encoder, reset), lock
    except BaseException:
        lock.release()
        raise


def _for_writing(path: Path, encoder: Encoder | None, reset: bool) -> Database:
    db = Database(path / FILE, read_only=False)
    try:
        if reset or not _made(db):
            _begin(db, encoder)
        _refuse_incomplete(db)
        _refuse_other(db, encoder)
        _bring_up(db)
        if db.meta("words") != lexicon.VERSION:
            _index_words(db)
    except BaseException:
        db.close()
        raise
    return db


def _made(db: Database) -> bool:
    return db.one("SELECT 1 FROM sqlite_master WHERE type = 'table'") is not None


def _refuse_incomplete(db: Database) -> None:
    """Raise StoreError for a library without one of its tables; an older one has not all of today's yet."""
    found = lacking(name for (name,) in db.all("SELECT name FROM sqlite_master"))
    if lost := [name for name in found if name not in (BROUGHT if _is_older(db) else BROUGHT[:1])]:
        raise damaged(db.path, f"{', '.join(lost)} is not there")


def _is_older(db: Database) -> bool:
    return db.one("SELECT 1 FROM pragma_user_version WHERE user_version < ?", (FORMAT,)) is not None


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
    """Give a library of an older format what it lacks, in one transaction; what it holds stays as it is."""
    if not situations.made(db):
        with db.transaction():
            db.run(SITUATIONS)
    if _is_older(db):
        with db.transaction():
            for sql in LEXICON:
                db.run(sql)
            db.run("DROP TABLE IF EXISTS lexicon")
            _index_words(db)
            db.run(f"PRAGMA user_version = {FORMAT}")


def _drop_tables(db: Database) -> None:
    db.run("PRAGMA defer_foreign_keys = ON")
    tables = [name for (name,) in db.all("SELECT name FROM sqlite_master WHERE type = 'table'")]
    # Those that refer to others go first, which saves looking for what still refers to each row.
    order = (
        "lexicon", "postings", "segments", "dead", "removed", "situations", "chunks", "facts", "texts", "documents",
        "sources", "vectors", "meta",
    )  # fmt: skip
    for name in order:
        if name in tables:
            db.run(f"DROP TABLE {name}")


def _refuse_other(db: Database, encoder: Encoder | None) -> None:
    if encoder is not None and encoder.fingerprint != (made := db.meta("encoder")):
        raise StoreError(
            f"the vectors were made by another encoder: {_apart(json.loads(db.meta('settings')), encoder)} "
            f"({made}, here {encoder.fingerprint})",
            where=str(db.path),
            fix="fovea ingest --rebuild encodes everything anew; or give the store another path",
        )


def _apart(before: dict[str, Any], encoder: Encoder) -> str:
    """Which settings of the encoder are others than `before`, but for those that only change speed."""
    now = encoder.settings(speed=False)
    told = [key for key in dict.fromkeys([*now, *before]) if before.get(key) != now.get(key)]
    if "use" in told:
        return f"{json.dumps(before)}, here {json.dumps(now)}"
    others = [key for key in told if key in now]
    found = ", ".join(f"{key} {json.dumps(before.get(key))}, here {json.dumps(now[key])}" for key in others)
    return found or f"its settings are the same, but not what {now.get('model', now['use'])} holds"


def _index_words(db: Database) -> None:
    with db.transaction():
        lexicon.clear(db)
        lexicon.add(db, ((no, text) for no, _, text in situations.indexed(db, chunks.every(db))))
        db.set_meta("words", lexicon.VERSION)


def _set_aside_damaged(file: Path) -> None:
    """Rename a library of ours that cannot be read whole, damaged or newer, since dropping tables would walk through
    the damage; leave a sound one, and anything that is not ours.
    """
    if not exists(file.parent):
        return
    try:
        db = Database(file, read_only=True)
        try:
            sound = db.all("PRAGMA quick_check(1)") == [("ok",)]
        finally:
            db.close()
    except Unreadable:
        if not ours(file) and not _beginning_lost(file):
            raise
        sound = False
    if not sound:
        aside = file.with_name(file.name + ".damaged")
        with plain_errors(file):
            for suffix in ("-wal", ""):
                if file.with_name(file.name + suffix).exists():
                    os.replace(file.with_name(file.name + suffix), aside.with_name(aside.name + suffix))
            file.with_name(file.name + "-shm").unlink(missing_ok=True)
        warn(f"the old library is damaged, or of a newer Fovea: it is set aside as {aside.name}")


def _beginning_lost(file: Path) -> bool:
    """Whether a file that is no database any more lies where a library does: beside an index or the marks of one."""
    with file.open("rb") as opened:
        database = opened.read(len(MAGIC)) == MAGIC
    return not database and any(file.with_name(name).exists() for name in ("index", f"{FILE}-wal", f"{FILE}-shm"))


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
