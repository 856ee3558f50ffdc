"""The lexical index: words of chunks in SQLite FTS5, ranked by its BM25.

Both sides are cut into words by `fovea.rag.tokens.words`, Chinese and Japanese into single characters, and FTS5 sees
those words set apart by spaces. So nothing a person asks can be taken for its query syntax. The index keeps no texts;
to take a chunk out, its words are made again from the stored document and what was said of its place
(`fovea.retrievers.library.situations`). When the making of words has changed (another Unicode version of Python, say),
the next writer makes the index anew.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from fovea.rag.tokens import words
from fovea.retrievers.library.database import Database

VERSION = f"1/{unicodedata.unidata_version}"
"""Of the making of words. Raise the first number when `fovea.rag.tokens.words` changes."""


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


def distinct(text: str) -> list[str]:
    """The words of a question, each once, in their order."""
    return list(dict.fromkeys(words(text)))


def _joined(text: str) -> str:
    return " ".join(words(text))
