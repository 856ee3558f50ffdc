"""The lexical index: terms of chunks in SQLite FTS5, ranked by its BM25.

Both sides are cut into terms by `fovea.rag.terms`, and FTS5 sees those set apart by spaces. So nothing a person asks
can be taken for its query syntax. The index keeps no texts; to take a chunk out, its terms are made again from the
stored document and what was said of its place (`fovea.retrievers.library.situations`). When the making of terms has
changed (another Unicode version of Python, say), the next writer makes the index anew, and readers are warned until
then.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from fovea.rag import trace
from fovea.rag.terms import index_terms
from fovea.retrievers.library.database import Database

VERSION = f"3/{unicodedata.unidata_version}"
"""Of the making of terms. Raise the first number when `fovea.rag.terms` changes, or the folding and words below it."""


def add(db: Database, chunks: Iterable[tuple[int, str]]) -> None:
    """Index the texts of new chunks by `no`."""
    db.many("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", ((no, _joined(text)) for no, text in chunks))


def remove(db: Database, chunks: Iterable[tuple[int, str]]) -> None:
    """Take chunks out; the texts must be those that were added."""
    rows = (("delete", no, _joined(text)) for no, text in chunks)
    db.many("INSERT INTO lexicon (lexicon, rowid, words) VALUES (?, ?, ?)", rows)


def clear(db: Database) -> None:
    """Take everything out."""
    db.run("INSERT INTO lexicon (lexicon) VALUES ('delete-all')")


def tidy(db: Database) -> None:
    """Merge the index into one piece, without what was taken out."""
    db.run("INSERT INTO lexicon (lexicon) VALUES ('optimize')")


def warn_if_old(db: Database) -> None:
    """Say that the index holds the terms of another Fovea, which today's questions may miss."""
    if db.meta("words") != VERSION:
        trace.warn(
            "the words of this store were indexed by another version of Fovea or Python: some are not found until "
            "`fovea rebuild` or the next `fovea ingest` indexes them anew; nothing is encoded"
        )


def _joined(text: str) -> str:
    return " ".join(index_terms(text))
