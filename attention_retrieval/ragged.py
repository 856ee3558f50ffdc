"""Ragged: rows of several heads of which each holds its own, in tables of those that hold equally many.

A token that comes goes to every head; what a head has given up lies in no table. Rows are numbered within a head.
`left` makes them of what is kept of others, and `some` are heads of others, to be read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from fovea.attention_retrieval.rounding import check_finite
from fovea.attention_retrieval.stored import Table
from fovea.attention_retrieval.vectors import Rows, Vectors


class Ragged(Vectors):
    """`parts[n]` holds the rows of the heads `of[n]`, in that order."""

    def __init__(self, parts: Sequence[Vectors], of: Sequence[np.ndarray]) -> None:
        like = parts[0]
        super().__init__(0, like.d, like.dtype, like.by)
        self.tables, self.of = list(parts), [np.asarray(heads, np.int64) for heads in of]
        self.heads = sum(map(len, self.of))
        self.places = np.empty((self.heads, 2), np.int64)
        for n, heads in enumerate(self.of):
            self.places[heads] = np.stack([np.full(len(heads), n), np.arange(len(heads))], axis=1)

    def __len__(self) -> int:
        """Of the head that holds most."""
        return max(map(len, self.tables))

    @property
    def parts(self) -> list[Vectors]:
        """The tables."""
        return self.tables

    @property
    def owners(self) -> np.ndarray:
        """Which table each head is in, and where there, (heads, 2) int64."""
        return self.places

    @property
    def lengths(self) -> np.ndarray:
        """Rows of each head, (heads,) int64."""
        return np.array([len(part) for part in self.tables], np.int64)[self.places[:, 0]]

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        return sum(part.nbytes for part in self.tables)

    def head_bytes(self, head: int) -> int:
        """Bytes of one head's rows."""
        part = self.tables[self.places[head, 0]]
        return part.nbytes // part.heads

    def append(self, rows: np.ndarray) -> None:
        """Add `rows` (heads, tokens, d) behind what each head holds; all of them, or none where one is not finite."""
        check_finite(rows)
        before = [len(part) for part in self.tables]
        try:
            for part, heads in zip(self.tables, self.of):
                part.append(rows[heads])
        except BaseException:
            for part, length in zip(self.tables, before):
                part.crop(length)
            raise

    def block(self, start: int, stop: int, heads: slice = slice(None)) -> np.ndarray:
        """Rows `start` to `stop` of heads that hold so many, as float32, (heads, stop - start, d)."""
        return np.stack([self.head(head).block(start, stop) for head in range(self.heads)[heads]])

    def crop(self, length: int) -> None:
        """Forget the last rows of every head, so many that `length` are left where most are."""
        gone = max(len(self) - length, 0)
        for part in self.tables:
            part.crop(max(len(part) - gone, 0))

    @property
    def table(self) -> Table:
        """What a kernel for all heads is given."""
        each = [part.table for part in self.tables]
        addresses, scales, plain, coded = (
            _placed([getattr(one, name) for one in each], self.of) for name in ("addresses", "scales", "plain", "coded")
        )
        return each[0]._replace(addresses=addresses, scales=scales, plain=plain, coded=coded)

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        part, place = self.places[head].tolist()
        return self.tables[part].head(place)

    def last(self, rows: int) -> np.ndarray:
        """The last rows of every head as float32, (heads, rows, d)."""
        each = [self.head(head) for head in range(self.heads)]
        return np.stack([mine.block(len(mine) - rows, len(mine)) for mine in each])

    def copied(self, heads: np.ndarray, rows: int) -> Vectors:
        """The first `rows` rows of some heads by themselves, as they are stored where one table has them all."""
        part = np.unique(self.places[heads, 0])
        if len(part) == 1:
            return self.tables[part[0]].copied(self.places[heads, 1], rows)
        made = Vectors(len(heads), self.d, self.dtype, self.by)
        made.append(np.stack([self.head(int(head)).block(0, rows) for head in heads]))
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Ragged:
        """Tables of its own."""
        twin = Ragged([copy.deepcopy(part, memo) for part in self.tables], self.of)
        memo[id(self)] = twin
        return twin


def _placed(arrays: Sequence[np.ndarray], of: Sequence[np.ndarray]) -> np.ndarray:
    """One array of all heads, those of a shorter text with zeros behind their slabs."""
    shape = np.max([array.shape[1:] for array in arrays], axis=0).astype(int)
    whole = np.zeros((sum(map(len, of)), *shape), arrays[0].dtype)
    for array, heads in zip(arrays, of):
        if array.ndim == 1:
            whole[heads] = array
        else:
            whole[heads, : array.shape[1]] = array
    return whole


class Some(Vectors):
    """Some heads of other vectors, in an order of their own: to be read."""

    def __init__(self, vectors: Vectors, heads: np.ndarray) -> None:
        super().__init__(0, vectors.d, vectors.dtype, vectors.by)
        self.all, self.of, self.heads = vectors, np.asarray(heads, np.int64), len(heads)

    def __len__(self) -> int:
        return len(self.all)

    @property
    def table(self) -> Table:
        """What a kernel for these heads is given."""
        whole = self.all.table
        mine = {name: getattr(whole, name)[self.of] for name in ("addresses", "scales", "plain", "coded")}
        return whole._replace(**mine)

    def head(self, head: int) -> Rows:
        """One head's rows, as they grow."""
        return self.all.head(int(self.of[head]))

    def block(self, start: int, stop: int, heads: slice = slice(None)) -> np.ndarray:
        """Rows `start` to `stop` of these heads as float32, (heads, stop - start, d)."""
        return np.stack([self.all.head(int(head)).block(start, stop) for head in self.of[heads]])

    def append(self, rows: np.ndarray) -> None:
        """Not possible: the other heads would lack these rows."""
        raise TypeError("rows are added to all heads together")

    def __deepcopy__(self, memo: dict[int, Any]) -> Some:
        """The same heads of a copy of the others."""
        return Some(copy.deepcopy(self.all, memo), self.of)


def some(vectors: Vectors, heads: np.ndarray) -> Vectors:
    """The rows of some heads, as they grow: to be read, not to be added to."""
    part = _table_of(vectors, heads)
    return Some(vectors, heads) if part is None else part


def left(vectors: Vectors, kept: Sequence[np.ndarray], labels: np.ndarray | None = None) -> Vectors:
    """The rows `kept` (one ascending array a head), heads of one label that keep equally many side by side.

    What stands before a head's first gap stays as it is stored, and a table of which nothing goes is the very same.
    """
    mark = np.zeros(len(kept), np.int64) if labels is None else labels
    groups: dict[tuple[int, int], list[int]] = {}
    for head, rows in enumerate(kept):
        groups.setdefault((-len(rows), int(mark[head])), []).append(head)
    of = [np.array(heads) for _, heads in sorted(groups.items())]
    parts = [_part(vectors, heads, kept) for heads in of]
    return parts[0] if len(parts) == 1 else Ragged(parts, of)


def _part(vectors: Vectors, heads: np.ndarray, kept: Sequence[np.ndarray]) -> Vectors:
    rows = np.stack([kept[head] for head in heads])
    gaps = np.flatnonzero((rows != np.arange(rows.shape[1])).any(axis=0))
    same = int(gaps[0]) if len(gaps) else rows.shape[1]
    part = _table_of(vectors, heads)
    if part is not None and same == len(part):
        return part
    made = vectors.copied(heads, same)
    if same < rows.shape[1]:
        made.append(np.stack([vectors.head(int(head)).take(mine[same:]) for head, mine in zip(heads, rows)]))
    return made


def _table_of(vectors: Vectors, heads: np.ndarray) -> Vectors | None:
    """The table of these heads alone, in this order; None where there is none."""
    tables, places = vectors.owners[heads].T
    part = vectors.parts[tables[0]]
    alone = (tables == tables[0]).all() and np.array_equal(places, np.arange(part.heads))
    return part if alone else None
