"""The tables of the library file, and how a file is known to be ours.

Documents are kept in blocks of characters, so that a chunk is read from its document without reading all of it; a chunk
is only the place of its slice, and the hash of what must be found there. `no` is given once and never used again.
"""

from __future__ import annotations

from collections.abc import Iterable

FORMAT = 3
"""Raise it with every change that an older Fovea cannot read, or would undo: 2 brought the situations of chunks, 3 a
lexical index of ours in the place of SQLite's FTS5."""
APPLICATION_ID = 0x466F7665
"""The mark in the file's header: "Fove"."""
BLOCK = 2000
"""Characters of a document in one row: of plain ASCII, four rows fill a page of 8 KiB."""

SITUATIONS = "CREATE TABLE situations (no INTEGER PRIMARY KEY REFERENCES chunks(no), text NOT NULL)"
LEXICON = (
    """CREATE TABLE segments (
        id INTEGER PRIMARY KEY AUTOINCREMENT, first INTEGER NOT NULL, last INTEGER NOT NULL, chunks INTEGER NOT NULL,
        nos BLOB NOT NULL, lengths BLOB NOT NULL)""",
    """CREATE TABLE postings (
        segment INTEGER NOT NULL REFERENCES segments(id), first TEXT NOT NULL, terms TEXT NOT NULL, sizes BLOB NOT NULL,
        rows BLOB NOT NULL, counts BLOB NOT NULL, PRIMARY KEY (segment, first))""",
    "CREATE TABLE dead (no INTEGER PRIMARY KEY)",
)
"""Of the lexical index."""
BROUGHT = ("situations", *(sql.split()[2] for sql in LEXICON))
"""The tables that an older format lacks."""
TABLES = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    """CREATE TABLE sources (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, digest TEXT NOT NULL, size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL, recipe TEXT NOT NULL, status TEXT NOT NULL, error TEXT NOT NULL,
        attempts INTEGER NOT NULL, documents INTEGER NOT NULL, chunks INTEGER NOT NULL, updated TEXT NOT NULL)""",
    """CREATE TABLE documents (
        id INTEGER PRIMARY KEY, owner INTEGER NOT NULL REFERENCES sources(id), name TEXT NOT NULL UNIQUE,
        source TEXT NOT NULL, title TEXT NOT NULL, media_type TEXT NOT NULL, metadata TEXT NOT NULL,
        pages TEXT NOT NULL, length INTEGER NOT NULL, odd INTEGER NOT NULL)""",
    "CREATE INDEX documents_owner ON documents(owner)",
    "CREATE INDEX documents_odd ON documents(id) WHERE odd",
    """CREATE TABLE texts (
        document INTEGER NOT NULL REFERENCES documents(id), block INTEGER NOT NULL, text NOT NULL,
        PRIMARY KEY (document, block))""",
    """CREATE TABLE facts (
        document INTEGER NOT NULL REFERENCES documents(id), field TEXT NOT NULL, kind TEXT NOT NULL, value NOT NULL,
        PRIMARY KEY (document, field)) WITHOUT ROWID""",
    "CREATE INDEX facts_value ON facts(field, kind, value)",
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, vector BLOB NOT NULL)",
    """CREATE TABLE chunks (
        no INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL REFERENCES documents(id),
        start INTEGER NOT NULL, stop INTEGER NOT NULL, page INTEGER, name BLOB NOT NULL,
        vector INTEGER NOT NULL REFERENCES vectors(id), added INTEGER NOT NULL, UNIQUE (document, start, stop))""",
    "CREATE INDEX chunks_name ON chunks(name)",
    "CREATE INDEX chunks_vector ON chunks(vector)",
    "CREATE INDEX chunks_added ON chunks(added)",
    SITUATIONS,
    "CREATE TABLE removed (no INTEGER PRIMARY KEY, sequence INTEGER NOT NULL)",
    "CREATE INDEX removed_sequence ON removed(sequence)",
    *LEXICON,
)
NAMES = tuple(sql.split()[2] for sql in TABLES)


def lacking(present: Iterable[str]) -> list[str]:
    """The tables and indexes that a library should have beside those that it has."""
    there = {name.split("(")[0] for name in present}
    return [name for name in NAMES if name not in there]
