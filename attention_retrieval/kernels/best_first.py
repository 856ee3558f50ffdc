"""Best-first search of a graph over stored rows, for the queries of a group in one traversal.

Every query keeps its own pool, sorted; what is visited is shared, and a row that is fetched is scored for all. In turn
each query expands the best row of its pool that nobody has expanded.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from attention_retrieval.graph import WIDTH, Graph
from attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from attention_retrieval.vectors import Stored


class Ask(NamedTuple):
    """What is looked for."""

    q: np.ndarray
    """(G, d) float32"""
    bias: np.ndarray
    """Added to a row's logit; empty for none."""
    half: float
    """Times |row|^2, taken away: 0 for the inner product, .5 to rank by Euclidean distance to q."""
    pool: int
    """Rows kept for each query."""
    beam: int
    """A query is done when its `beam` best rows are expanded."""
    budget: int
    """Rows that may be scored."""


class Pools(NamedTuple):
    """The state of a search."""

    ids: np.ndarray
    """(G, pool) int32, best first; -1 beyond the filled places"""
    logits: np.ndarray
    """(G, pool) float32"""
    visited: np.ndarray
    """Open addressing: rows that were scored, -1 for a free place"""
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


@njit(nogil=True, cache=True)
def keep(ids: np.ndarray, logits: np.ndarray, row: int, logit: np.float32) -> None:
    """Put a row into a sorted pool, if it is good enough."""
    at = logits.shape[0] - 1
    if logit <= logits[at]:
        return
    while at > 0 and logits[at - 1] < logit:
        logits[at], ids[at] = logits[at - 1], ids[at - 1]
        at -= 1
    logits[at], ids[at] = logit, row


@njit(nogil=True, cache=True, fastmath=FAST)
def score(stored: Stored, ask: Ask, pools: Pools, rows: np.ndarray) -> None:
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
            keep(pools.ids[g], pools.logits[g], rows[n], total)


@njit(nogil=True, cache=True)
def next_of(ask: Ask, pools: Pools, g: int) -> int:
    """The place in `visited` of the best row of query g that is not expanded, or -1 if its beam is done."""
    for n in range(min(ask.beam, ask.pool)):
        if pools.ids[g, n] < 0:
            return -1
        at = place(pools.visited, pools.ids[g, n])
        if not pools.expanded[at]:
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
def best_first(stored: Stored, graph: Graph, ask: Ask, entries: np.ndarray) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Search from rows `entries`: ids and logits (G, pool), best first, rows scored and blocks read.

    Never scores more than `ask.budget` rows. Logits are exact.
    """
    group, size = ask.q.shape[0], 16
    while size < 2 * ask.budget:
        size *= 2
    pools = Pools(
        np.full((group, ask.pool), -1, np.int32),
        np.full((group, ask.pool), -np.inf, np.float32),
        np.full(size, -1, np.int32),
        np.zeros(size, np.bool_),
    )
    batch, scored, blocks, many = np.empty(max(ask.budget, 1), np.int32), 0, 0, 0
    for n in range(entries.shape[0]):
        at = place(pools.visited, entries[n])
        if pools.visited[at] < 0 and many < ask.budget:
            pools.visited[at] = entries[n]
            batch[many] = entries[n]
            many += 1
    score(stored, ask, pools, batch[:many])
    scored, busy = many, True
    while busy and scored < ask.budget:
        busy = False
        for g in range(group):
            at = next_of(ask, pools, g)
            if at < 0:
                continue
            busy, pools.expanded[at] = True, True
            many, read = unseen(graph, pools.visited[at], pools.visited, ask.budget - scored, batch)
            score(stored, ask, pools, batch[:many])
            scored, blocks = scored + many, blocks + read
    return pools.ids, pools.logits, scored, blocks
