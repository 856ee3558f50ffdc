"""RoarGraph: a graph over the keys whose edges join keys that the same queries want.

After RoarGraph (arXiv 2408.08933) as RetrievalAttention (arXiv 2409.10516) uses it, with the repair of NGFix
(arXiv 2510.22316) in place of its costly connectivity step, and with entries from the query side: the best keys of the
training queries most like the new one.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from pydantic import Field, PositiveFloat, PositiveInt

from fovea.attention_retrieval.index.bipartite import training, wanted
from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys
from fovea.attention_retrieval.index.entries import FIRSTS, Entries, entries_from, entries_of
from fovea.attention_retrieval.index.query_cells import cells_of
from fovea.attention_retrieval.index.state import damaged, part, within
from fovea.attention_retrieval.kernels.cells import CELL, QueryCells
from fovea.attention_retrieval.kernels.edges import BLOCK, Graph, graph_of, with_room

LEAST_KEYS = 512
PARENTS = 8
"""Edges to a new row from the keys of queries that want it."""
LEAST_BYTES = 256 * 1024
SPARE = 4096
"""Blocks at hand for rows that become the best of many queries."""
STEP = 128
"""Rows or lists between two looks at the clock, and new rows that are taken in together."""


class RoarEngine(Engine, name="roar"):
    """Best-first search over a graph of keys, the group in one traversal.

    Build: exact lists of the training queries, O(training * keys * d); for each, edges from its best key to those that
    it does not occlude, and edges that let every key of the list be reached through better ones. Then each key that no
    list names joins near the keys it resembles.
    """

    needs_queries = True

    budget: float = Field(0.015, gt=0, le=1)
    """Share of the rows that a search may score, for the group together; at least 512, and 4 k or `wanted` a query."""
    beam: PositiveInt = 150
    """Rows that are kept, and expanded, for each query; k where that is more."""
    memory: float = Field(0.25, gt=0, le=1)
    """Bytes of the index, as a share of those of the keys; but at least 256 KiB."""
    training: PositiveInt = 8192
    """Training queries at most."""
    wanted: PositiveInt = 256
    """Keys on the list of each training query."""
    neighbours: PositiveInt = 16
    """Edges that the best key of a list gets from the projection."""
    degree: PositiveInt = 64
    """Edges of a key at most."""
    entries: PositiveInt = 8
    """Training queries whose best keys a search starts from, for each query."""
    probes: PositiveInt = 4
    """Cells of training queries that are opened for each query."""
    rank: PositiveInt = 32
    """Directions that training queries are compared along."""
    seconds: PositiveFloat | None = None
    """Add no edges after this long: what is left is only made reachable. Without it, a build repeats exactly."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> RoarIndex:
        """Lists, projection, repair, and the keys that are left over."""
        until = time.monotonic() + (self.seconds or 1e9)
        learned = training(queries, keys, self._count(keys), seed)
        learned = learned[len(learned) % CELL :]
        if not len(keys) or not len(learned):
            return RoarIndex(self, keys, None, None)
        cells, order = cells_of(keys, learned, self.rank)
        lists, logits = wanted(keys, learned[order], min(self.wanted, len(keys)))
        entries = entries_of(keys, cells, lists, logits)
        graph = graph_of(keys.start, len(keys), self._blocks(keys, entries))
        index = RoarIndex(self, keys, graph, entries)
        index.learn(lists[np.argsort(order)[::-1]], until)
        index.reach_all(until)
        return index

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> RoarIndex:
        """Raises StoreError where the arrays do not fit together or do not fit the keys."""
        if not state:
            return RoarIndex(self, keys, None, None)
        heads = part(state, "heads", np.int32, (len(keys),))
        blocks = part(state, "blocks", np.int32, (None, 5))
        used = part(state, "used", np.int64, (2,))
        if used[0] != len(blocks) or used[1] != keys.start:
            raise damaged(f"part 'used' is {used.tolist()}, wanted [{len(blocks)}, {keys.start}]")
        within(heads, "heads", -1, len(blocks))
        following, targets = blocks[:, -1], blocks[:, :-1]
        within(targets[targets != -1], "blocks", keys.start, keys.stop)
        within(following, "blocks", -1, len(blocks))
        if ((following >= 0) & (following <= np.arange(len(blocks)))).any():
            raise damaged("part 'blocks' goes round in a circle")
        return RoarIndex(self, keys, Graph(heads, blocks, used), entries_from(state, keys))

    def _room(self, keys: Keys) -> float:
        return max(self.memory * len(keys) * keys.rows.row_bytes, LEAST_BYTES)

    def _count(self, keys: Keys) -> int:
        """Training queries, whose entries may take three tenths of the memory."""
        each = 2 * keys.width + 8 + 8 * FIRSTS + 5 * self.rank / CELL
        return max(int(min(self.training, 0.3 * self._room(keys) / each)) // CELL, 1) * CELL

    def _blocks(self, keys: Keys, entries: Entries) -> int:
        room = self._room(keys)
        return max(int(room - 4 * len(keys) - entries.nbytes) // BLOCK, len(keys) // 4)


class RoarIndex(Index):
    """A graph and the ways into it; without them (nothing to learn from) every row is scored."""

    def __init__(self, engine: RoarEngine, keys: Keys, graph: Graph | None, entries: Entries | None) -> None:
        self.engine, self.keys, self.graph, self.entries = engine, keys, graph, entries

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best that a best-first search meets; all rows where the budget allows that."""
        least = max(LEAST_KEYS, len(q) * max(4 * k, self.engine.wanted))
        if self.graph is None or self.entries is None or least >= len(self.keys):
            return self.keys.best(q, k)
        from fovea.attention_retrieval.kernels.best_first import Ask, best_first

        lifted = np.ascontiguousarray(self.keys.lifted(q), np.float32)
        starts, scored = self.entries.of(lifted, self.engine.probes, self.engine.entries)
        rank = len(self.entries.cells.spread)
        narrow = -(-scored * rank // lifted.shape[1])
        budget = max(int(self.engine.budget * len(self.keys)) - narrow, least)
        ask = Ask(np.ascontiguousarray(q, np.float32), self.keys.bias, 0.0, max(k, self.engine.beam), budget)
        starts = np.concatenate([starts, self.entries.middle])
        ids, logits, met, blocks = best_first(self.keys.rows.stored, self.graph, ask, starts)
        if met < k:
            return self.keys.best(q, k)
        read = scored * rank * 2 + blocks * BLOCK + met * self.keys.rows.row_bytes
        return Found(np.ascontiguousarray(ids[:, :k]), np.ascontiguousarray(logits[:, :k]), met + narrow, read)

    def learn(self, lists: np.ndarray, until: float) -> None:
        """Edges from lists (n, m), until the time `until` or until a tenth of the blocks is left."""
        from fovea.attention_retrieval.kernels.project import mend, project

        if self.graph is None:
            return
        ranks, degree = np.full(len(self.keys), -1, np.int32), self.engine.degree
        left_over = len(self.keys) - len(np.unique(lists))
        most = len(self.graph.blocks) - left_over // 6  # what attaching them takes
        for low in range(0, len(lists), STEP):
            if time.monotonic() > until or self.graph.used[0] > most:
                break
            here = lists[low : low + STEP]
            rows = self._rows(here)
            project(self.graph, here, rows, self.engine.neighbours, degree)
            mend(self.graph, here, rows, ranks, degree)

    def _rows(self, lists: np.ndarray) -> np.ndarray:
        from fovea.attention_retrieval.kernels.take import take

        return take(self.keys.rows.stored, lists.ravel()).reshape(*lists.shape, self.keys.rows.d)

    def reach_all(self, until: float) -> None:
        """Every row that no entry leads to is attached to the rows most like it."""
        from fovea.attention_retrieval.kernels.graph import reachable

        if self.graph is not None and self.entries is not None:
            starts = self.entries.everywhere
            alone = np.flatnonzero(~reachable(self.graph, starts)).astype(np.int32) + self.keys.start
            self._attach(alone.astype(np.int32), until, effort=256)

    def _attach(self, rows: np.ndarray, until: float, effort: int) -> None:
        from fovea.attention_retrieval.kernels.attach import attach

        low = 0
        while low < len(rows) and self.graph is not None and self.entries is not None:
            effort = effort if time.monotonic() <= until else 0
            here = rows[low : low + STEP]
            low += attach(self.keys.rows.stored, self.graph, here, self.entries.middle, effort, self.engine.degree)
            if self.graph.used[0] == len(self.graph.blocks):
                self.graph = with_room(self.graph, len(self.graph.heads), len(self.graph.heads) // 16 + 16)

    def insert(self, stop: int) -> None:
        """New rows get edges from the best keys of queries that want them, or from the rows most like them."""
        if self.graph is not None and self.entries is not None and stop > self.keys.stop:
            nodes, start = len(self.graph.heads), self.keys.stop
            self._grow(stop - self.keys.start, blocks=2 * PARENTS * (stop - start) + SPARE)
            try:
                for low in range(start, stop, STEP):
                    self._take_in(self.graph, self.entries, low, min(low + STEP, stop))
            except BaseException:
                self._forget(start, nodes)
                raise
        self.keys.stop = stop

    def _take_in(self, graph: Graph, entries: Entries, low: int, high: int) -> None:
        from fovea.attention_retrieval.kernels.attach import ANY
        from fovea.attention_retrieval.kernels.graph import link, link_all
        from fovea.attention_retrieval.kernels.joins import joins

        rows = np.ascontiguousarray(entries.cells.rotated(self.keys.matrix(low, high)), np.float32)
        masks = joins(entries.cells.asked, entries.floors, rows)
        wants = np.unpackbits(masks.astype("<u2").view(np.uint8), axis=1, bitorder="little")
        sources, targets = entries.offers(self.keys, low, wants, PARENTS)
        joined = targets[link_all(graph, sources, targets, self.engine.degree)]
        alone = np.setdiff1d(np.arange(low, high, dtype=np.int32), joined)
        self._attach(alone, np.inf, effort=256)
        for n, query, place in entries.better(rows, wants):
            link(graph, np.int32(low + n), entries.firsts[query, place], ANY)  # that one may have no other way in
            entries.firsts[query, place] = low + n

    def _forget(self, stop: int, nodes: int) -> None:
        from fovea.attention_retrieval.kernels.graph import forget

        if self.graph is not None and self.entries is not None:
            forget(self.graph, stop)
            self.graph = self.graph._replace(heads=self.graph.heads[:nodes])
            gone = self.entries.firsts >= stop
            self.entries.firsts[gone], self.entries.tops[gone] = self.entries.middle[0], -np.inf

    def _grow(self, nodes: int, blocks: int) -> None:
        """Room for that many nodes, and for that many more blocks."""
        if self.graph is None:
            return
        if self.graph.used[0] + blocks > len(self.graph.blocks):
            self.graph = with_room(self.graph, nodes, max(blocks, len(self.graph.blocks) // 16))
        more = np.full(nodes - len(self.graph.heads), -1, np.int32)
        self.graph = self.graph._replace(heads=np.concatenate([self.graph.heads, more]))

    def repair(self, q: np.ndarray, exact: np.ndarray) -> None:
        """Edges by which each query's exact best are reached from where its search ended, and through better ones."""
        if self.graph is None:
            return
        from fovea.attention_retrieval.kernels.project import mend

        found = self.search(q, 1).ids
        lists = [np.concatenate([a, b[b != a[0]]]) for a, b in zip(found, exact)]
        width = max(map(len, lists))
        padded = np.array([np.pad(one, (0, width - len(one)), constant_values=-1) for one in lists], np.int32)
        self._grow(len(self.graph.heads), blocks=padded.size)
        ranks = np.full(len(self.keys), -1, np.int32)
        mend(self.graph, padded, self._rows(padded), ranks, self.engine.degree)

    def state(self) -> dict[str, np.ndarray]:
        """The graph, the ways in, and the cells of the training queries."""
        if self.graph is None or self.entries is None:
            return {}
        graph = self.graph._replace(blocks=self.graph.blocks[: self.graph.used[0]])
        ways = self.entries._asdict()
        cells: QueryCells = ways.pop("cells")
        return {**graph._asdict(), **ways, **cells._asdict()}
