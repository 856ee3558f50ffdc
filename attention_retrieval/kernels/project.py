"""From a query's list of best keys to edges between keys: RoarGraph's projection, and NGFix's repair of the rest."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.edges import WIDTH, Graph
from fovea.attention_retrieval.kernels.graph import link
from fovea.attention_retrieval.kernels.load import FAST


@njit(nogil=True, cache=True, fastmath=FAST)
def distance(rows: np.ndarray, a: int, b: int | np.integer) -> np.float32:
    """Squared Euclidean distance of two rows of a table."""
    total = np.float32(0)
    for j in range(rows.shape[1]):
        total += (rows[a, j] - rows[b, j]) * (rows[a, j] - rows[b, j])
    return total


@njit(nogil=True, cache=True)
def unoccluded(rows: np.ndarray, most: int) -> np.ndarray:
    """Places of the rows that row 0 keeps as neighbours, nearest first, at most `most`.

    p is kept if no row that is kept already is nearer to p than row 0 is.
    """
    far = np.empty(rows.shape[0] - 1, np.float32)
    for n in range(1, rows.shape[0]):
        far[n - 1] = distance(rows, n, np.int64(0))
    kept, size = np.empty(min(most, far.shape[0]), np.int64), 0
    for p in np.argsort(far):
        if size == kept.shape[0]:
            break
        free = True
        for n in range(size):
            if distance(rows, p + 1, kept[n]) < far[p]:
                free = False
                break
        if free:
            kept[size] = p + 1
            size += 1
    return kept[:size]


@njit(nogil=True, cache=True)
def project(graph: Graph, lists: np.ndarray, rows: np.ndarray, neighbours: int, most: int) -> None:
    """Join the best key of each list (n, m), whose rows are (n, m, d), with those it does not occlude, both ways."""
    for t in range(lists.shape[0]):
        for p in unoccluded(rows[t], neighbours):
            link(graph, lists[t, 0], lists[t, p], most)
            link(graph, lists[t, p], lists[t, 0], most)


@njit(nogil=True, cache=True)
def covered(graph: Graph, best: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Which keys of a list have an edge from a better one, (m,); `ranks[node]` is a key's place on it, else -1."""
    done = np.zeros(best.shape[0], np.bool_)
    done[0] = True
    for n in range(best.shape[0]):
        block = graph.heads[best[n] - graph.used[1]]
        while block >= 0:
            for e in range(WIDTH):
                target = graph.blocks[block, e]
                if target >= 0 and ranks[target - graph.used[1]] > n:
                    done[ranks[target - graph.used[1]]] = True
            block = graph.blocks[block, WIDTH]
    return done


@njit(nogil=True, cache=True)
def mend(graph: Graph, lists: np.ndarray, rows: np.ndarray, ranks: np.ndarray, most: int) -> int:
    """Let every key of each list (n, m; -1 ends), whose rows are (n, m, d), be reached through better keys of it alone.

    A key without an edge from a better one gets it from the nearest better one that has room. So a search with a pool
    of m finds the whole list once it has the best key, however the keys lie. `ranks` (nodes,) is scratch, all -1.
    Returns how many edges that took.
    """
    added = 0
    for t in range(lists.shape[0]):
        m = 0
        while m < lists.shape[1] and lists[t, m] >= 0:
            ranks[lists[t, m] - graph.used[1]] = m
            m += 1
        if m == 0:
            continue
        best = lists[t, :m]
        done = covered(graph, best, ranks)
        for n in range(m):
            if not done[n]:
                added += from_nearest(graph, rows[t], best, n, most)
        for n in range(m):
            ranks[best[n] - graph.used[1]] = -1
    return added


@njit(nogil=True, cache=True)
def from_nearest(graph: Graph, rows: np.ndarray, best: np.ndarray, n: int, most: int) -> int:
    """An edge to best[n] from the nearest of those before it that has room: 1, or 0 if none has."""
    far = np.empty(n, np.float32)
    for r in range(n):
        far[r] = distance(rows, n, r)
    for _ in range(min(n, 8)):
        r = np.argmin(far)
        if link(graph, best[r], best[n], most):
            return 1
        far[r] = np.inf
    return 0
