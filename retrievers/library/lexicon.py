"""The lexical index: words of chunks in SQLite FTS5, ranked by its BM25.

Both sides are cut into words by `rag.tokens.words`, Chinese and Japanese into single characters, and FTS5 sees those
words set apart by spaces. So nothing a person asks can be taken for its query syntax. The index keeps no texts; to take
a chunk out, its words are made again from the stored document. When the making of words has changed (another Unicode
version of Python, say), the next writer makes the index anew.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

from rag.tokens import words
from rag.types import Scalar
from retrievers.library.database import Database

VERSION = f"1/{unicodedata.unidata_version}"
"""Of the making of words. Raise the first number when `rag.tokens.words` changes."""
MOST_WORDS = 256
"""Different words of a question that count, the first ones: FTS5 nests an expression for each."""


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


def match(
    db: Database, asked: Sequence[str], k: int, condition: str = "", values: Sequence[Scalar] = ()
) -> list[tuple[int, float]]:
    """The `(no, BM25)` of the `k` best chunks with any of the words; equal scores by rising `no`.

    `sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))` with k1 1.2 and b 0.75.
    """
    if not asked or k < 1:
        return []
    expression = " OR ".join(f'"{word}"' for word in asked)
    inside = f"AND rowid IN (SELECT no FROM chunks WHERE {condition})" if condition else ""
    sql = f"SELECT rowid, -rank AS score FROM lexicon WHERE lexicon MATCH ? {inside} ORDER BY rank, rowid LIMIT ?"
    return db.all(sql, [expression, *values, k])


def distinct(text: str) -> list[str]:
    """The words of a question, each once, in their order."""
    return list(dict.fromkeys(words(text)))


def _joined(text: str) -> str:
    return " ".join(words(text))
