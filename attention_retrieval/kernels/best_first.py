"""Best-first search of a graph over stored rows, for the queries of a group in one traversal.

Every query keeps the best rows it has met, and a frontier of those that it has not expanded. What is visited is shared:
a row that is fetched is scored for all queries, and expanded once. In turn each query expands the best of its frontier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.edges import WIDTH, Graph
from fovea.attention_retrieval.kernels.heaps import order, pop, push, sift
from fovea.attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from fovea.attention_retrieval.stored import Stored


class Ask(NamedTuple):
    """What is looked for."""

    q: np.ndarray
    """(G, d) float32"""
    bias: np.ndarray
    """Added to a row's logit; empty for none."""
    half: float
    """Times |row|^2, taken away: 0 for the inner product, .5 to rank by Euclidean distance to q."""
    beam: int
    """Rows kept for each query; it is done when nothing on its frontier is as good as the worst of them."""
    budget: int
    """Rows that may be scored."""


class Search(NamedTuple):
    """The state of a search."""

    ids: np.ndarray
    """(G, beam) int32, a heap for each query, the worst at its root; -1 in free places"""
    logits: np.ndarray
    """(G, beam) float32"""
    open_ids: np.ndarray
    """(G, budget) int32, a heap for each query, the best at its root"""
    open_logits: np.ndarray
    """(G, budget) float32"""
    opened: np.ndarray
    """(G,) rows on each frontier"""
    visited: np.ndarray
    """Open addressing: rows that were scored, -1 in free places"""
    expanded: np.ndarray
    """Whether the row in the same place of `visited` was expanded"""


@njit(nogil=True, cache=True)
def place(visited: np.ndarray, row: int) -> int:
    """Where `row` is in the table, or the free place for it; its size is a power of two."""
    last = visited.shape[0] - 1
    at = np.int64((np.uint64(row) * np.uint64(2654435769)) >> np.uint64(7)) & last
    while visited[at] >= 0 and visited[at] != row:
        at = (at + 1) & last
    return at


@njit(nogil=True, cache=True, fastmath=FAST)
def score(stored: Stored, ask: Ask, search: Search, rows: np.ndarray) -> None:
    """Score `rows` for all queries; memory is asked for all of them first."""
    d = stored.d
    row = np.empty(d, np.float32)
    for n in range(rows.shape[0]):
        fetch_ahead(stored, rows[n])
    for n in range(rows.shape[0]):
        read_row(stored, rows[n], row)
        extra = ask.bias[rows[n]] if ask.bias.shape[0] > 0 else np.float32(0)
        if ask.half > 0:
            for j in range(d):
                extra -= np.float32(ask.half) * row[j] * row[j]
        for g in range(ask.q.shape[0]):
            total = extra
            for j in range(d):
                total += row[j] * ask.q[g, j]
            if total > search.logits[g, 0]:
                search.logits[g, 0], search.ids[g, 0] = total, rows[n]
                sift(search.logits[g], search.ids[g], ask.beam)
                push(search.open_ids[g], search.open_logits[g], search.opened[g], rows[n], total)
                search.opened[g] += 1


@njit(nogil=True, cache=True)
def next_of(search: Search, g: int) -> int:
    """The place in `visited` of the best row on the frontier of query g, taken from it; -1 if the query is done."""
    ids, logits = search.open_ids[g], search.open_logits[g]
    while search.opened[g] > 0:
        row, logit = ids[0], logits[0]
        if logit < search.logits[g, 0]:
            return -1
        pop(ids, logits, search.opened[g])
        search.opened[g] -= 1
        at = place(search.visited, row)
        if not search.expanded[at]:
            return at
    return -1


@njit(nogil=True, cache=True)
def unseen(graph: Graph, row: int, visited: np.ndarray, most: int, out: np.ndarray) -> tuple[int, int]:
    """Targets of `row` that were not visited, which are then: how many are in `out`, and blocks read."""
    block, size, blocks = graph.heads[row - graph.used[1]], 0, 0
    while block >= 0 and size < most:
        blocks += 1
        for e in range(WIDTH):
            target = graph.blocks[block, e]
            if target < 0 or size >= most:
                break
            at = place(visited, target)
            if visited[at] < 0:
                visited[at] = target
                out[size] = target
                size += 1
        block = graph.blocks[block, WIDTH]
    return size, blocks


@njit(nogil=True, cache=True)
def begun(ask: Ask) -> Search:
    """A search that has met nothing."""
    group, size = ask.q.shape[0], 16
    while size < 2 * ask.budget:
        size *= 2
    return Search(
        np.full((group, ask.beam), -1, np.int32),
        np.full((group, ask.beam), -np.inf, np.float32),
        np.empty((group, ask.budget), np.int32),
        np.empty((group, ask.budget), np.float32),
        np.zeros(group, np.int64),
        np.full(size, -1, np.int32),
        np.zeros(size, np.bool_),
    )


@njit(nogil=True, cache=True)
def best_first(stored: Stored, graph: Graph, ask: Ask, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Search from rows `entries`: ids and logits (G, beam), best first, rows scored and blocks read.

    Never scores more than `ask.budget` rows. Logits are exact.
    """
    search, batch = begun(ask), np.empty(max(ask.budget, 1), np.int32)
    scored, blocks = 0, 0
    for n in range(entries.shape[0]):
        at = place(search.visited, entries[n])
        if search.visited[at] < 0 and scored < ask.budget:
            search.visited[at] = entries[n]
            batch[scored] = entries[n]
            scored += 1
    score(stored, ask, search, batch[:scored])
    busy = True
    while busy and scored < ask.budget:
        busy = False
        for g in range(ask.q.shape[0]):
            at = next_of(search, g)
            if at < 0:
                continue
            busy, search.expanded[at] = True, True
            many, read = unseen(graph, search.visited[at], search.visited, ask.budget - scored, batch)
            score(stored, ask, search, batch[:many])
            scored, blocks = scored + many, blocks + read
    for g in range(ask.q.shape[0]):
        order(search.logits[g], search.ids[g])
    return search.ids, search.logits, scored, blocks
