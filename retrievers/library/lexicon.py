"""The lexical index: which chunks hold which terms, in segments (`fovea.retrievers.library.segment`) that merge.

Terms are made by `fovea.rag.terms`. Every write adds a segment of the new chunks in the transaction that writes them.
Once `FAN` segments at the end are small enough, they become one, so that a posting is written anew once for each factor
of `FAN` in the size of the library (a log-structured merge, O'Neil et al., 1996). A chunk that goes is noted in `dead`
until the next merging of its segment. Segments lie in rising order of the chunks' `no`.

When the making of terms has changed (another Unicode version of Python, say), the next writer makes the index anew, and
readers are warned until then.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from itertools import accumulate, chain, islice

from fovea.rag import trace
from fovea.rag.terms import index_terms
from fovea.retrievers.library.database import Database, sound
from fovea.retrievers.library.segment import MOST, Segment

VERSION = f"3/{unicodedata.unidata_version}"
"""Of the making of terms. Raise the first number when `fovea.rag.terms` changes, or the folding and words below it."""
FAN = 16
BOUNDS = (*(MOST // FAN**i for i in (3, 2, 1)), MOST // 2)
"""Chunks of the largest segment that is merged with its neighbours, for each step in size."""
DEAD_SHARE = 4
"""Once one in so many chunks of the index has gone, the segments of which so many have are written without them."""


def add(db: Database, chunks: Iterable[tuple[int, str]]) -> None:
    """Index the texts of new chunks by `no`, higher than any before."""
    index(db, ((no, index_terms(text)) for no, text in chunks))


def index(db: Database, chunks: Iterable[tuple[int, Sequence[str]]]) -> None:
    """Index new chunks by `no` and their terms. O(terms), and O(logarithm of all chunks) for each of them later."""
    some = iter(chunks)
    for first in some:
        _write(db, Segment.of(chain([first], islice(some, MOST - 1))))
        _merge(db)


def remove(db: Database, document: int) -> None:
    """Take the chunks of a document out, by the document's number; `settle` comes when all are."""
    db.run("INSERT INTO dead SELECT no FROM chunks WHERE document = ?", (document,))


def settle(db: Database) -> None:
    """Write segments anew if too many of their chunks have gone."""
    gone, held = db.all("SELECT (SELECT count(*) FROM dead), (SELECT ifnull(sum(chunks), 0) FROM segments)")[0]
    if gone * DEAD_SHARE > held:
        tidy(db, DEAD_SHARE)


def clear(db: Database) -> None:
    """Take everything out."""
    for table in ("postings", "segments", "dead"):
        db.run(f"DELETE FROM {table}")


def tidy(db: Database, share: int) -> None:
    """Write segments anew of which one chunk in `share` or more has gone."""
    sql = "SELECT id, chunks, (SELECT count(*) FROM dead WHERE no BETWEEN first AND last) FROM segments ORDER BY first"
    for number, chunks, gone in db.all(sql):
        if gone * share > chunks:
            _join(db, [number])


def warn_if_old(db: Database) -> None:
    """Say that the index holds the terms of another Fovea, which today's questions may miss."""
    if db.meta("words") != VERSION:
        trace.warn(
            "the words of this store were indexed by another version of Fovea or Python: some are not found until "
            "`fovea rebuild` or the next `fovea ingest` indexes them anew; nothing is encoded"
        )


def read(db: Database, number: int) -> Segment:
    """A whole segment."""
    rows = db.one("SELECT nos, lengths FROM segments WHERE id = ?", (number,))
    assert rows
    sql = "SELECT terms, sizes, rows, counts FROM postings WHERE segment = ? ORDER BY first"
    with sound(db.path, "the lexical index"):
        nos, lengths = rows
        return Segment.read(nos, lengths, [(a, b, c, d) for a, b, c, d in db.all(sql, (number,))])


def _merge(db: Database) -> None:
    """Make one of the last `FAN` segments, or as many of them as fit, where none is over the bound of their step."""
    for bound in BOUNDS:
        last = db.all("SELECT id, chunks FROM segments ORDER BY first DESC LIMIT ?", (FAN,))
        if len(last) == FAN and max(chunks for _, chunks in last) <= bound:
            fit = [number for (number, _), sum in zip(last, accumulate(n for _, n in last)) if sum <= MOST]
            _join(db, fit[::-1])


def _join(db: Database, numbers: Sequence[int]) -> None:
    """Write segments that lie side by side as one, without the chunks that went."""
    import numpy as np

    some = [read(db, number) for number in numbers]
    ends = some[0].nos[0].item(), some[-1].nos[-1].item()
    dead = np.array([no for (no,) in db.all("SELECT no FROM dead WHERE no BETWEEN ? AND ?", ends)], np.int64)
    one = Segment.merged(some, [~np.isin(s.nos, dead, assume_unique=True) for s in some])
    for number in numbers:
        db.run("DELETE FROM postings WHERE segment = ?", (number,))
        db.run("DELETE FROM segments WHERE id = ?", (number,))
    db.run("DELETE FROM dead WHERE no BETWEEN ? AND ?", ends)
    _write(db, one)


def _write(db: Database, one: Segment) -> None:
    if not len(one.nos):
        return
    row = (int(one.nos[0]), int(one.nos[-1]), len(one.nos), one.nos.astype("<i8").tobytes())
    sql = "INSERT INTO segments (first, last, chunks, nos, lengths) VALUES (?, ?, ?, ?, ?)"
    db.run(sql, (*row, one.lengths.astype("<u4").tobytes()))
    ((number,),) = db.all("SELECT last_insert_rowid()")
    db.many("INSERT INTO postings VALUES (?, ?, ?, ?, ?, ?)", ((number, *block) for block in one.blocks()))
