"""Entries: where searches of a graph start, which is at the best keys of the training queries most like the new one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.index.bipartite import TILE
from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.index.query_cells import restored
from fovea.attention_retrieval.index.state import part, within
from fovea.attention_retrieval.kernels.cells import CELL, QueryCells
from fovea.attention_retrieval.rounding import decode

FIRSTS = 8
"""Keys of each training query's list that a search may start from."""


class Entries(NamedTuple):
    """Where searches start."""

    cells: QueryCells
    floors: np.ndarray
    """(training queries,) float32: the logit that ends each one's list"""
    firsts: np.ndarray
    """(training queries, 8) int32: the best keys of each"""
    tops: np.ndarray
    """(training queries, 8) float32: their logits"""
    middle: np.ndarray
    """(1,) int32: the key nearest to the mean of all"""

    def of(self, lifted: np.ndarray, probes: int, count: int) -> tuple[np.ndarray, int]:
        """Best keys of the training queries most like `lifted` (G, d), `count` for each; and the vectors scored."""
        from fovea.attention_retrieval.kernels.near_cells import near_cells

        opened, weights, scored = near_cells(self.cells, lifted, probes)
        count = min(count * len(lifted), weights.size)
        at = np.argpartition(weights, weights.size - count, axis=None)[weights.size - count :]
        return self.firsts[opened[at // CELL] * CELL + at % CELL].ravel(), scored

    def offers(self, keys: Keys, low: int, wants: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Edges to new rows, from `low` on, from queries that want them, (rows, queries) bool: sources and targets.

        Of the queries that want a row, `most`, spread evenly over the cells, each offer the nearest of their best keys.
        """
        from fovea.attention_retrieval.kernels.take import take

        spread = [
            here[np.arange(min(most, len(here))) * len(here) // min(most, max(len(here), 1))]
            for here in map(np.flatnonzero, wants)
        ]
        targets = low + np.repeat(np.arange(len(wants)), [len(here) for here in spread])
        best = self.firsts[np.concatenate([*spread, np.zeros(0, np.int64)])]
        rows = take(keys.rows.stored, best.ravel()).reshape(*best.shape, keys.rows.d)
        far = ((rows - take(keys.rows.stored, targets.astype(np.int32))[:, None]) ** 2).sum(axis=2)
        return best[np.arange(len(best)), far.argmin(axis=1)], targets.astype(np.int32)

    def better(self, rows: np.ndarray, wants: np.ndarray) -> Iterator[tuple[int, int, int]]:
        """New rows (n, d), rotated, that are among the best of a training query that wants them, (n, queries) bool.

        Yields the row's place, the query, and the place among its best that the row takes.
        """
        places, queries = np.nonzero(wants)
        logits = (decode(self.cells.asked[queries]) * rows[places]).sum(axis=1)
        for n in np.flatnonzero(logits > self.tops[queries].min(axis=1)):
            worst = int(self.tops[queries[n]].argmin())
            if logits[n] > self.tops[queries[n], worst]:
                self.tops[queries[n], worst] = logits[n]
                yield int(places[n]), int(queries[n]), worst

    @property
    def everywhere(self) -> np.ndarray:
        """All of them, the middle first."""
        return np.concatenate([self.middle, np.setdiff1d(self.firsts, self.middle)])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in (*self.cells, *self[1:]))


def middle(keys: Keys) -> np.ndarray:
    """The row nearest to the mean of all, (1,) int32."""
    sums, nearest = np.zeros(keys.rows.d), (np.inf, keys.start)
    for low in range(keys.start, keys.stop, TILE):
        sums += keys.rows.block(low, min(low + TILE, keys.stop)).sum(axis=0, dtype=np.float64)
    mean = (sums / len(keys)).astype(np.float32)
    for low in range(keys.start, keys.stop, TILE):
        far = ((keys.rows.block(low, min(low + TILE, keys.stop)) - mean) ** 2).sum(axis=1)
        nearest = min(nearest, (float(far.min()), low + int(far.argmin())))
    return np.array([nearest[1]], np.int32)


def entries_of(keys: Keys, cells: QueryCells, lists: np.ndarray, logits: np.ndarray) -> Entries:
    """Entries of training queries with these lists (T, m), best first."""
    whole = lists.shape[1] == len(keys)
    floors = np.full(len(lists), -np.inf, np.float32) if whole else logits[:, -1].copy()
    return Entries(cells, floors, lists[:, :FIRSTS].copy(), logits[:, :FIRSTS].copy(), middle(keys))


def entries_from(state: Mapping[str, np.ndarray], keys: Keys) -> Entries:
    """The entries whose arrays are in `state`; raises StoreError where they do not fit."""
    firsts = part(state, "firsts", np.int32, (None, None))
    return Entries(
        restored(state, keys.width, len(firsts)),
        part(state, "floors", np.float32, (len(firsts),)),
        within(firsts, "firsts", keys.start, keys.stop),
        part(state, "tops", np.float32, firsts.shape),
        within(part(state, "middle", np.int32, (1,)), "middle", keys.start, keys.stop),
    )
