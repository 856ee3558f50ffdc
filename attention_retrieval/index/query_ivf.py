"""Query-side inverted file: training queries in cells, each cell listing the keys that its queries want.

A new query finds the training queries most like it, and these vote: a key's votes estimate the probability that the new
query wants it, so scoring keys in the order of votes finds most for what is read. After CTkvr (arXiv 2512.15550), with
the queries' own exact lists in place of one list a centroid, and votes in place of a union.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.index.bipartite import training, wanted
from fovea.attention_retrieval.index.cell_lists import CellLists, lists_of
from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys
from fovea.attention_retrieval.index.query_cells import cells_of, restored
from fovea.attention_retrieval.index.state import part, within
from fovea.attention_retrieval.kernels.cells import CELL, QueryCells

STEP = 32
"""New rows that are taken in together; fewer than the places that a cut leaves empty in any cell."""
LITTLE = np.float32(1e-6)
LEAST_KEYS = 1024
ENTRY, SHARED = 4, 90
"""Bytes of an entry of a cell, and the entries for each query that memory is shared out for."""
LEAST_BYTES = 256 * 1024


class QueryIVFEngine(Engine, name="query_ivf"):
    """Cells of sixteen prefill queries; a cell lists keys, each with a mask of the queries that want it.

    Build: one exact product of the training queries with all keys, O(training * keys * d). Search: O(sqrt(training))
    centres, the queries of `probes` cells, and keys up to `budget`, however many there are. Memory: `memory`.
    """

    needs_queries = True

    budget: float = Field(0.015, gt=0, le=1)
    """Share of the rows that a search may score, the group together; at least 1,024, and 4 k or `wanted` a query."""
    most: float | None = Field(2.0, ge=1)
    """However long the text, no more than so many times those least; without it, the share alone counts."""
    doubt: float = Field(0.0, ge=0, lt=1)
    """Stop before the budget is spent once the keys left have this share of all votes."""
    memory: float = Field(0.25, gt=0, le=1)
    """Bytes of the index, as a share of those of the keys; but at least 256 KiB."""
    training: PositiveInt = 8192
    """Training queries at most; fewer where the memory is small."""
    wanted: PositiveInt = 256
    """Keys on the list of each training query; fewer in a cell whose queries differ much."""
    probes: PositiveInt = 8
    """Cells that are opened for each query."""
    rank: PositiveInt = 32
    """Directions that training queries are compared along."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> QueryIVFIndex:
        """Exact lists of the training queries, put in cells."""
        count, places = self._shape(keys)
        learned = training(queries, keys, count, seed)
        learned = learned[len(learned) % CELL :]
        if not len(learned):
            return QueryIVFIndex(self, keys, None, None)
        cells, order = cells_of(keys, learned, self.rank)
        m = min(self.wanted, max(len(keys), 1))
        ids, logits = wanted(keys, learned[order], m)
        return QueryIVFIndex(self, keys, cells, lists_of(ids, logits, places, keys.stop, short=len(keys) <= m))

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> QueryIVFIndex:
        """Raises StoreError where the arrays do not fit together or do not fit the keys."""
        if not state:
            return QueryIVFIndex(self, keys, None, None)
        floors = part(state, "floors", np.float32, (None,))
        cells = len(floors) // CELL
        steps = part(state, "steps", np.uint16, (cells, None))
        lists = CellLists(
            steps,
            part(state, "masks", np.uint16, steps.shape),
            within(part(state, "counts", np.int32, (cells,)), "counts", 0, steps.shape[1] + 1),
            floors,
        )
        for cell in range(cells):
            within(lists.entries(cell)[0], "steps", keys.start, keys.stop)
        learned = restored(state, keys.width, len(floors))
        return QueryIVFIndex(self, keys, learned, lists)

    def _shape(self, keys: Keys) -> tuple[int, int]:
        """Training queries, and places of a cell, that `memory` has room for; more than half of all lists is no use."""
        d = keys.width
        room = max(self.memory * len(keys) * keys.rows.row_bytes, LEAST_BYTES) - 4 * d * d
        each = 2 * d + 8 + (4.25 * min(self.rank, d) + 4) / CELL
        count = max(int(min(self.training, room / (each + ENTRY * SHARED))) // CELL * CELL, CELL)
        places = int((room / count - each) * CELL / ENTRY)
        return count, max(min(places, self.wanted * CELL // 2), 10 * STEP)


class QueryIVFIndex(Index):
    """Cells of training queries and what they want; without them (nothing to learn from) every row is scored."""

    def __init__(self, engine: QueryIVFEngine, keys: Keys, cells: QueryCells | None, lists: CellLists | None) -> None:
        self.engine, self.keys, self.cells, self.lists = engine, keys, cells, lists

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best among the keys with most votes; all rows where the budget allows that."""
        if self.cells is None or self.lists is None or self._least(q, k) >= len(self.keys):
            return self.keys.best(q, k)
        return self._search(self.cells, self.lists, q, k, self.engine.probes)

    def _search(self, cells: QueryCells, lists: CellLists, q: np.ndarray, k: int, probes: int) -> Found:
        from fovea.attention_retrieval.kernels.near_cells import near_cells
        from fovea.attention_retrieval.kernels.votes import most_wanted, tally

        lifted = np.ascontiguousarray(self.keys.lifted(q), np.float32)
        opened, weights, scored = near_cells(cells, lifted, probes)
        known, votes = tally(opened, weights, *lists[:3], self.keys.stop)
        if len(known) < k:  # few had a say, so all of the opened cells get a little
            known, votes = tally(opened, np.maximum(weights, LITTLE), *lists[:3], self.keys.stop)
        if len(known) < k:
            if probes < len(lists.counts):
                return self._search(cells, lists, q, k, 4 * probes)
            return self.keys.best(q, k)
        rank = len(cells.spread)
        narrow = -(-scored * rank // lifted.shape[1])
        least, share = self._least(q, k), int(self.engine.budget * len(self.keys)) - narrow
        allowed = max(least, share if self.engine.most is None else min(share, int(self.engine.most * least)))
        picked = most_wanted(known, votes, allowed, self.engine.doubt)
        ids, logits = self.keys.best_of(q, picked, k)
        read = scored * rank * 2 + int(lists.counts[opened].sum()) * ENTRY + len(picked) * self.keys.rows.row_bytes
        return Found(ids, logits, len(picked) + narrow, read)

    def _least(self, q: np.ndarray, k: int) -> int:
        return max(LEAST_KEYS, len(q) * max(4 * k, self.engine.wanted))

    def insert(self, stop: int) -> None:
        """A new key joins the lists of all training queries for which it scores at least what ends their list."""
        if self.cells is not None and self.lists is not None:
            try:
                for low in range(self.keys.stop, stop, STEP):
                    self._take_in(self.cells, self.lists, low, min(low + STEP, stop))
            except BaseException:
                self.lists.forget(self.keys.stop)
                raise
        self.keys.stop = stop

    def _take_in(self, cells: QueryCells, lists: CellLists, low: int, high: int) -> None:
        from fovea.attention_retrieval.kernels.joins import joins

        rows = np.ascontiguousarray(cells.rotated(self.keys.matrix(low, high)), np.float32)
        masks = joins(cells.asked, lists.floors, rows)
        for cell in np.flatnonzero(masks.any(axis=0)).tolist():
            new = np.flatnonzero(masks[:, cell])
            if not lists.fits(cell, len(new), high):
                self._cut(cells, lists, cell)
            lists.add(cell, (low + new).astype(np.int32), masks[new, cell])

    def _cut(self, cells: QueryCells, lists: CellLists, cell: int) -> None:
        ids, _ = lists.entries(cell)
        rows = self.keys.rows.take(ids)
        rows = np.column_stack([rows, self.keys.bias[ids]]) if len(self.keys.bias) else rows
        lists.cut(cell, cells.plain(np.arange(cell * CELL, (cell + 1) * CELL)) @ rows.T, lists.room(self.keys.stop))

    def repair(self, q: np.ndarray, exact: np.ndarray) -> None:
        """Each query, with its exact best as its list, takes the place of the training query most like it."""
        if self.cells is None or self.lists is None:
            return
        taken: set[int] = set()
        for lifted, best in zip(np.ascontiguousarray(self.keys.lifted(q), np.float32), exact):
            slot = self._nearest(self.cells, lifted, taken)
            taken.add(slot)
            self._relearn(self.cells, self.lists, slot, lifted, best[best >= 0].astype(np.int32))

    def _nearest(self, cells: QueryCells, lifted: np.ndarray, taken: set[int]) -> int:
        from fovea.attention_retrieval.kernels.near_cells import near_cells

        opened, weights, _ = near_cells(cells, lifted[None], self.engine.probes)
        for at in np.argsort(-weights, axis=None, kind="stable"):
            slot = int(opened[at // CELL]) * CELL + int(at % CELL)
            if slot not in taken:
                break
        return slot

    def _relearn(self, cells: QueryCells, lists: CellLists, slot: int, lifted: np.ndarray, best: np.ndarray) -> None:
        cell, member = divmod(slot, CELL)
        ids, members = lists.entries(cell)
        members[member] = False
        lists.put(cell, ids, members)
        cells.replace(slot, lifted)
        if not lists.fits(cell, len(best), self.keys.stop):
            self._cut(cells, lists, cell)
        ids, members = lists.entries(cell)
        both = np.union1d(ids, best).astype(np.int32)
        grown = np.zeros((CELL, len(both)), bool)
        grown[:, np.searchsorted(both, ids)] = members
        grown[member, np.searchsorted(both, best)] = True
        lists.put(cell, both, grown)
        logits = self.keys.rows.take(best) @ lifted[: self.keys.rows.d]
        logits = logits + self.keys.bias[best] if len(self.keys.bias) else logits
        lists.floors[slot] = logits.min() if len(best) else -np.inf

    def state(self) -> dict[str, np.ndarray]:
        """Arrays of the cells and of their lists."""
        return {} if self.cells is None or self.lists is None else {**self.cells._asdict(), **self.lists._asdict()}
