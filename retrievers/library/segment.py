"""A segment of the lexical index: for each term, the chunks that hold it and how often. Made once, never changed.

Rows are the segment's chunks in rising order of `no`; `ends` cuts `rows` and `counts` into one slice for each term. In
the file a segment is blocks of neighbouring terms, so that a term is found through an index and read without the rest.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST = 1 << 16
"""Chunks of a segment, whose rows are then numbers of two bytes; a bound of what one merging holds and writes, too."""
BLOCK = 1800
"""Bytes of a block, but for a term that fills more: four to a page of the file."""

UNFIT = "parts of a segment do not fit each other"


@dataclass(frozen=True)
class Segment:
    """`nos` int64 rising and `lengths` int64 (terms of each chunk), a row each; `terms` rising, `ends` int64, a term
    each; `rows` and `counts` int64, a posting each, rows rising within a term.
    """

    nos: np.ndarray
    lengths: np.ndarray
    terms: Sequence[str]
    ends: np.ndarray
    rows: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, chunks: Iterable[tuple[int, Sequence[str]]]) -> Segment:
        """The segment of chunks, each its `no` and its terms, in rising order. O(terms)."""
        import numpy as np

        number: dict[str, int] = defaultdict(count().__next__)
        nos, lengths, sizes = list[int](), list[int](), list[int]()
        which, counts = list[int](), list[int]()
        for no, terms in chunks:
            counted = Counter(terms)
            nos.append(no)
            lengths.append(len(terms))
            sizes.append(len(counted))
            which.extend(map(number.__getitem__, counted))
            counts.extend(counted.values())
        return _sorted(number, nos, lengths, which, np.repeat(np.arange(len(nos)), sizes), counts)

    @classmethod
    def merged(cls, some: Sequence[Segment], alive: Sequence[np.ndarray]) -> Segment:
        """One segment of the rows of several, in order, that are `alive` (bool, a row each). O(postings)."""
        import numpy as np

        number: dict[str, int] = defaultdict(count().__next__)
        parts, before = [], 0
        for s, kept in zip(some, alive, strict=True):
            numbers = np.fromiter(map(number.__getitem__, s.terms), np.int64, len(s.terms))
            mine = kept[s.rows]
            which = np.repeat(numbers, np.diff(s.ends, prepend=0))[mine]
            rows = (before + np.cumsum(kept) - 1)[s.rows[mine]]
            parts.append((s.nos[kept], s.lengths[kept], which, rows, s.counts[mine]))
            before += int(kept.sum())
        return _sorted(number, *map(np.concatenate, zip(*parts)))

    def blocks(self) -> Iterator[tuple[str, str, bytes, bytes, bytes]]:
        """The first term of each block, its terms a line each, and as bytes: how many rows hold each term, the rows,
        and how often: a byte each, or four where one is over 255.
        """
        import numpy as np

        if not self.terms:
            return
        sizes = np.diff(self.ends, prepend=0)
        room = 3 * sizes + np.fromiter(map(len, self.terms), np.int64, len(self.terms)) + 5
        cuts = np.flatnonzero(np.diff((np.cumsum(room) - room) // BLOCK, prepend=-1)).tolist()
        cuts.append(len(self.terms))
        bounds = np.append(0, self.ends)[cuts].tolist()
        wide = set(np.searchsorted(bounds, np.flatnonzero(self.counts > 255), "right").tolist())
        held, rows = sizes.astype("<u4").tobytes(), self.rows.astype("<u2").tobytes()
        times = self.counts.astype("u1").tobytes()
        for i, ((a, b), (c, d)) in enumerate(zip(pairwise(cuts), pairwise(bounds)), 1):
            some = self.counts[c:d].astype("<u4").tobytes() if i in wide else times[c:d]
            yield self.terms[a], "\n".join(self.terms[a:b]), held[4 * a : 4 * b], rows[2 * c : 2 * d], some

    @classmethod
    def read(cls, nos: bytes, lengths: bytes, blocks: Sequence[tuple[str, bytes, bytes, bytes]]) -> Segment:
        """The segment again: of its stored rows, and its blocks in order without their first terms."""
        import numpy as np

        lines, sizes, rows, times = zip(*blocks) if blocks else ((), (), (), ())
        if len(b"".join(rows)) != 2 * len(joined := b"".join(times)):
            joined = b"".join(_counts(r, t).astype("<u4").tobytes() for r, t in zip(rows, times))
        counts = _counts(b"".join(rows), joined)
        size, row = numbers(b"".join(sizes), "<u4"), numbers(b"".join(rows), "<u2")
        terms = "\n".join(lines).split("\n") if lines else []
        no, length = stored(nos, lengths)
        if len(terms) != len(size) or size.sum() != len(row) or (row >= len(no)).any():
            raise ValueError(UNFIT)
        return cls(no, length, terms, np.cumsum(size), row, counts)


def stored(nos: bytes, lengths: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers and lengths of a segment's chunks, int64, out of the file; raises ValueError for unequal ones."""
    found = numbers(nos, "<i8"), numbers(lengths, "<u4")
    if len(found[0]) != len(found[1]):
        raise ValueError(UNFIT)
    return found


def postings(term: str, lines: str, sizes: bytes, rows: bytes, counts: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The rows that hold a term, and how often, out of its block; raises ValueError where that does not fit."""
    import numpy as np

    place = (terms := lines.split("\n")).index(term)
    size, times = np.frombuffer(sizes, "<u4"), _counts(rows, counts)
    if len(size) != len(terms) or size.sum() != len(times):
        raise ValueError(UNFIT)
    first = int(size[:place].sum())
    part = slice(first, first + int(size[place]))
    return np.frombuffer(rows, "<u2")[part], times[part]


def numbers(stored: bytes, kind: str) -> np.ndarray:
    """Numbers out of the file, int64."""
    import numpy as np

    return np.frombuffer(stored, kind).astype(np.int64)


def _counts(rows: bytes, counts: bytes) -> np.ndarray:
    import numpy as np

    found = np.frombuffer(counts, "u1" if 2 * len(counts) == len(rows) else "<u4")
    if 2 * len(found) != len(rows):
        raise ValueError(UNFIT)
    return found


def _sorted(number: Mapping[str, int], *columns: Sequence[int] | np.ndarray) -> Segment:
    """The segment of `nos`, `lengths` and, in rising order of rows, the number of each posting's term, its row and its
    count. Terms without any go.
    """
    import numpy as np

    nos, lengths, which, rows, counts = (np.asarray(column, np.int64) for column in columns)
    terms = sorted(number)  # Runs in order, where they come from segments: sorted in O(terms) nearly.
    place = np.empty(len(terms), np.int64)
    place[np.fromiter(map(number.__getitem__, terms), np.int64, len(terms))] = np.arange(len(terms))
    which = place[which]
    order, sizes = np.argsort(which, kind="stable"), np.bincount(which, minlength=len(terms))
    if not sizes.all():
        terms, sizes = [term for term, size in zip(terms, sizes.tolist()) if size], sizes[sizes > 0]
    return Segment(nos, lengths, terms, np.cumsum(sizes), rows[order], counts[order])
