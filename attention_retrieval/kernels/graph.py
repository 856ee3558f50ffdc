"""Edges of a graph: adding them, walking along them, taking them out."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.edges import WIDTH, Graph


@njit(nogil=True, cache=True)
def link(graph: Graph, source: int | np.integer, target: int, most: int | np.integer, grow: bool = True) -> bool:
    """Add the edge source -> target, True if it is there; False if the node has `most` edges, or no place for one.

    There is none where no block is left, or where only another block would have it and the node may not `grow`.
    """
    node = source - graph.used[1]
    block, last, degree = graph.heads[node], -1, 0
    while block >= 0:
        for e in range(WIDTH):
            if graph.blocks[block, e] == target:
                return True
            if graph.blocks[block, e] < 0:
                if degree >= most:
                    return False
                graph.blocks[block, e] = target
                return True
            degree += 1
        block, last = graph.blocks[block, WIDTH], block
    new = graph.used[0]
    if not grow or degree >= most or new >= graph.blocks.shape[0]:
        return False
    graph.blocks[new, 0] = target
    if last < 0:
        graph.heads[node] = new
    else:
        graph.blocks[last, WIDTH] = new
    graph.used[0] = new + 1
    return True


@njit(nogil=True, cache=True)
def link_all(graph: Graph, sources: np.ndarray, targets: np.ndarray, most: int) -> np.ndarray:
    """`link` for each pair of rows: which are joined, (n,) bool."""
    joined = np.empty(sources.shape[0], np.bool_)
    for n in range(sources.shape[0]):
        joined[n] = link(graph, sources[n], targets[n], most)
    return joined


@njit(nogil=True, cache=True)
def reachable(graph: Graph, entries: np.ndarray) -> np.ndarray:
    """Which nodes can be reached from the rows `entries`, (nodes,) bool."""
    first, nodes = graph.used[1], graph.heads.shape[0]
    seen, todo, size = np.zeros(nodes, np.bool_), np.empty(nodes, np.int64), 0
    for n in range(entries.shape[0]):
        node = entries[n] - first
        if not seen[node]:
            seen[node] = True
            todo[size] = node
            size += 1
    while size > 0:
        size -= 1
        block = graph.heads[todo[size]]
        while block >= 0:
            for e in range(WIDTH):
                target = graph.blocks[block, e]
                if target >= 0 and not seen[target - first]:
                    seen[target - first] = True
                    todo[size] = target - first
                    size += 1
            block = graph.blocks[block, WIDTH]
    return seen


@njit(nogil=True, cache=True)
def forget(graph: Graph, stop: int) -> None:
    """Take out the edges to rows from `stop` on."""
    for node in range(graph.heads.shape[0]):
        to, at = graph.heads[node], 0
        block = to
        while block >= 0:
            for e in range(WIDTH):
                target = graph.blocks[block, e]
                if target < 0 or target >= stop:
                    continue
                graph.blocks[to, at] = target
                at += 1
                if at == WIDTH:
                    to, at = graph.blocks[to, WIDTH], 0
            block = graph.blocks[block, WIDTH]
        while to >= 0:
            for e in range(at, WIDTH):
                graph.blocks[to, e] = -1
            to, at = graph.blocks[to, WIDTH], 0
