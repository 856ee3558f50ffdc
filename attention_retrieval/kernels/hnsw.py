"""Best-first search over the lowest layer of an HNSW graph, scoring rows where they lie in the cache."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.heaps import order, pop, push, sift
from fovea.attention_retrieval.kernels.load import FAST, fetch_ahead, read_row
from fovea.attention_retrieval.stored import Stored


class Graph(NamedTuple):
    """Node n is row `first` + n; its links are links[offsets[n] : offsets[n] + width], up to the first -1."""

    first: int
    links: np.ndarray
    offsets: np.ndarray
    width: int
    entries: np.ndarray
    """Nodes that every search begins at."""


@njit(nogil=True, cache=True, fastmath=FAST)
def walk(
    stored: Stored,
    bias: np.ndarray,
    q: np.ndarray,
    graph: Graph,
    ef: int,
) -> tuple[np.ndarray, np.ndarray, int, int, int]:
    """The `ef` best of the rows met by following links, best first: ids and logits (queries, ef), -1 is nobody.

    A query goes on from the best node not yet left, until that is worse than the worst of the ef kept. Returns also
    how many rows were scored (by any query, and by each summed up), and how many nodes were left.
    """
    (queries, d), count, first, entries = q.shape, graph.offsets.shape[0], graph.first, graph.entries
    ids, logits = np.full((queries, ef), -1, np.int32), np.full((queries, ef), -np.inf, np.float32)
    scored, row = np.zeros(count, np.bool_), np.empty(d, np.float32)
    fresh = np.empty(max(graph.width, entries.shape[0]), np.int32)
    distinct, reads, left = 0, 0, 0
    for g in range(queries):
        met, open_logits, open_ids = np.zeros(count, np.bool_), np.empty(count, np.float32), np.empty(count, np.int32)
        waiting, new = np.int64(0), entries.shape[0]
        for n in range(new):  # for a slice Numba compiles what would word a mismatch, too
            fresh[n] = entries[n]
        while True:
            for n in range(new):
                node = fresh[n]
                met[node] = True
                distinct += not scored[node]
                scored[node] = True
                read_row(stored, first + node, row)
                total = bias[first + node] if bias.shape[0] > 0 else np.float32(0)
                for j in range(d):
                    total += row[j] * q[g, j]
                if total > logits[g, 0]:
                    logits[g, 0], ids[g, 0] = total, first + node
                    sift(logits[g], ids[g], ef)
                    push(open_ids, open_logits, waiting, node, total)
                    waiting += 1
            reads += new
            if waiting == 0 or open_logits[0] < logits[g, 0]:
                break
            begin = graph.offsets[open_ids[0]]
            pop(open_ids, open_logits, waiting)
            waiting -= 1
            left, new = left + 1, 0
            for at in range(begin, begin + graph.width):
                node = graph.links[at]
                if node < 0:
                    break
                if not met[node]:
                    fetch_ahead(stored, first + node)
                    fresh[new] = node
                    new += 1
        order(logits[g], ids[g])
    return ids, logits, distinct, reads, left
