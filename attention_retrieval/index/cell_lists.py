"""Cell lists: what the sixteen queries of each cell want, a key once with the mask of those that want it.

Similar queries share most of what they want, so a key and a mask stand for several places on lists. Keys are in the
order of their rows and each is kept as the step from the one before, so an entry is four bytes; a step over 65,534 rows
is made of entries that nobody wants. New keys have the highest rows, so they are written at the end.

A cell has a fixed number of places. When new keys have filled it, every query's list is cut to its best m, with the
largest m that leaves room; so lists stay the queries' exact best, and the memory stays what it was.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.kernels.cells import CELL

ROOM = 0.9
"""Places that are filled after a build or a cut; the others wait for new keys."""
STRIDE = 65535
BITS = (1 << np.arange(CELL)).astype(np.uint16)


class CellLists(NamedTuple):
    """Entries of cell c: the first `counts[c]` of `steps[c]` and `masks[c]`."""

    steps: np.ndarray
    """(cells, places) uint16: rows from the key before, from row 0 for the first"""
    masks: np.ndarray
    """(cells, places) uint16: bit i is set if query 16 c + i wants the key"""
    counts: np.ndarray
    """(cells,) int32"""
    floors: np.ndarray
    """(16 cells,) float32: the logit that ends each query's list; minus infinity while it is short"""

    def room(self, stop: int) -> int:
        """How many places are filled after a cut, of keys before row `stop`."""
        return int(self.steps.shape[1] * ROOM) - stop // STRIDE - 1

    def fits(self, cell: int, new: int, stop: int) -> bool:
        """Whether `new` more keys before row `stop` find places, whatever the steps to them."""
        return int(self.counts[cell]) + new + stop // STRIDE + 1 <= self.steps.shape[1]

    def put(self, cell: int, ids: np.ndarray, members: np.ndarray) -> None:
        """Set a cell's entries: `members` (16, ids) says which query wants which; what nobody wants is left out."""
        masks = (members * BITS[:, None]).sum(axis=0, dtype=np.uint16)
        order = np.argsort(ids)
        order = order[masks[order] > 0]
        self.counts[cell] = 0
        self.add(cell, ids[order], masks[order])

    def add(self, cell: int, ids: np.ndarray, masks: np.ndarray) -> None:
        """Write ids, ascending and after those of the cell, at its end; there must be places for them."""
        count = int(self.counts[cell])
        gaps = np.diff(ids, prepend=int(self.steps[cell, :count].sum(dtype=np.int64)))
        at = count + np.arange(len(ids)) + np.cumsum(gaps // STRIDE)
        end = int(at[-1]) + 1 if len(ids) else count
        self.steps[cell, count:end], self.masks[cell, count:end] = STRIDE, 0
        self.steps[cell, at], self.masks[cell, at] = gaps % STRIDE, masks
        self.counts[cell] = end

    def entries(self, cell: int) -> tuple[np.ndarray, np.ndarray]:
        """A cell's ids (n,), ascending, and members (16, n)."""
        count = self.counts[cell]
        ids, masks = np.cumsum(self.steps[cell, :count], dtype=np.int32), self.masks[cell, :count]
        return ids[masks > 0], (masks[masks > 0] & BITS[:, None]) != 0

    def cut(self, cell: int, logits: np.ndarray, room: int) -> None:
        """Shorten every query's list alike until `room` places are filled; logits (16, n) of the cell's entries."""
        ids, members = self.entries(cell)
        logits = np.where(members, logits, -np.inf)
        order = np.argsort(-logits, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(len(ids))[None], axis=1)
        length = length_for(np.where(members, ranks, len(ids)).min(axis=0), room)
        longer = members.sum(axis=1) > length
        last = np.take_along_axis(logits, order[:, length - 1 : length], axis=1)[:, 0]
        floors = self.floors[cell * CELL : (cell + 1) * CELL]
        floors[longer] = last[longer]
        self.put(cell, ids, members & (ranks < length))

    def forget(self, stop: int) -> None:
        """Take out the keys from row `stop` on."""
        for cell in range(len(self.counts)):
            ids, members = self.entries(cell)
            if (ids >= stop).any():
                self.put(cell, ids[ids < stop], members[:, ids < stop])


def lists_of(ids: np.ndarray, logits: np.ndarray, places: int, stop: int, *, short: bool) -> CellLists:
    """Lists of queries (16 cells, m), best first, of rows before `stop`, as cells of `places`.

    `short` says that they name every key there is, so that any new one belongs on them.
    """
    cells, m = len(ids) // CELL, ids.shape[1]
    made = CellLists(
        np.zeros((cells, places), np.uint16),
        np.zeros((cells, places), np.uint16),
        np.zeros(cells, np.int32),
        np.full(len(ids), -np.inf, np.float32),
    )
    for cell in range(cells):
        here = ids[cell * CELL : (cell + 1) * CELL]
        keys, first, where = np.unique(here.T, return_index=True, return_inverse=True)
        length = min(length_for(first // CELL, made.room(stop)), m)
        members = np.zeros((CELL, len(keys)), bool)
        np.put_along_axis(members, where.reshape(m, CELL).T[:, :length], True, axis=1)
        made.put(cell, keys, members)
        if not short or length < m:
            made.floors[cell * CELL : (cell + 1) * CELL] = logits[cell * CELL : (cell + 1) * CELL, length - 1]
    return made


def length_for(first: np.ndarray, room: int) -> int:
    """The longest lists that name at most `room` keys; `first` is the best rank that each key has on any list."""
    return max(int(np.sort(first)[room]), 1) if len(first) > room else max(len(first), 1)
