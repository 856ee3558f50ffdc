"""Bipartite graph: which keys each of the prefill's queries wants. Engines that learn from queries are made of it.

A model's queries lie far from its keys, so what is near a key says little about what a query wants. The prefill's own
queries say it: the queries to come resemble them, and similar queries want the same keys (RetrievalAttention).
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.index.engine import Keys

TILE = 2048
QUERIES = 256


def training(queries: np.ndarray | None, keys: Keys, count: int, seed: int) -> np.ndarray:
    """`count` of the prefill's queries, denser towards the last ones, which are most like those to come: (count, d).

    The i-th lies i^2 / count^2 of the way back. Where there are too few, keys stand in: away from the keys' mean, and
    as long as the queries are. They are worse than queries and better than nothing.
    """
    have = np.zeros((0, keys.rows.d), np.float32) if queries is None else np.asarray(queries, np.float32)
    if len(have) >= count:
        n = np.arange(count, dtype=np.int64)
        return have[len(have) - 1 - np.maximum(n, n * n * len(have) // count**2)]
    if not len(keys):
        return have
    picked = np.random.default_rng(seed).permutation(len(keys))[: count - len(have)] + keys.start
    like = keys.rows.take(picked)
    like -= like.mean(axis=0)
    length = np.linalg.norm(have, axis=1).mean() if len(have) else 1.0
    like *= length / np.maximum(np.linalg.norm(like, axis=1, keepdims=True), 1e-12)
    return np.concatenate([like, have])


def wanted(keys: Keys, queries: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
    """The m best rows for each of `queries` (n, d), exactly, best first: ids and logits (n, m).

    One matrix product for each tile of keys and queries, and a pass that keeps the best. O(n * keys * d) in time,
    O(n * m) in memory. Where there are fewer keys than m, the rest is -1 and minus infinity.
    """
    from fovea.attention_retrieval.kernels.keep_best import keep_best, order_all

    ids, logits = np.full((len(queries), m), -1, np.int32), np.full((len(queries), m), -np.inf, np.float32)
    lifted = np.ascontiguousarray(keys.lifted(queries), np.float32)
    for low in range(keys.start, keys.stop, TILE):
        block = np.ascontiguousarray(keys.matrix(low, min(low + TILE, keys.stop)).T)
        for n in range(0, len(lifted), QUERIES):
            keep_best(lifted[n : n + QUERIES] @ block, low, ids[n : n + QUERIES], logits[n : n + QUERIES])
    order_all(ids, logits)
    return ids, logits
