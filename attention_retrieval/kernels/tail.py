"""Attention over found rows and, beside them, over clusters that stand for all the others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, exp, fetch_ahead, read_row
from fovea.attention_retrieval.kernels.top_k import AHEAD
from fovea.attention_retrieval.stored import Stored


class Clusters(NamedTuple):
    """Rows `first`, `first` + 1, ... in clusters."""

    first: int
    cells: np.ndarray
    """The cluster of each row, (rows,) int32."""
    sizes: np.ndarray
    """Rows of each cluster, (clusters,) float32."""
    keys: np.ndarray
    """Their mean keys, (clusters, d) float32."""
    values: np.ndarray
    """Their mean values, (clusters, d) float32."""
    spread: np.ndarray
    """How much wider each is than the average cluster, in square distances, (clusters,) float32."""
    taylor: bool = False
    """Whether exponentials are taken as their series to the second order, or as a Gaussian's."""


@njit(nogil=True, cache=True, fastmath=FAST)
def rest_of(
    clusters: Clusters,
    q: np.ndarray,
    variance: np.float32,
    ids: np.ndarray,
    logits: np.ndarray,
    logs: np.ndarray,
    rest: np.ndarray,
) -> None:
    """For one query: into `logs` the log of the mean exp(logit) of what was not found of each cluster, and into
    `rest[0]` how much that is; minus infinity where all was found. `variance` is that of logits in an average cluster.

    With m of n rows found, of logits mean + delta, the others have mean - sum(delta) / (n - m), and by the same
    subtraction a variance, held to [0, the cluster's]; of Gaussian logits the mean exponential is exp(mean +
    variance / 2), that of the second-order series exp(mean) (1 + variance / 2), and none is above the least logit
    found. Into `rest[1]` goes how many rows of that weight lean: all, or in the series those without its last term.
    """
    count, d = clusters.keys.shape
    first, second = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for c in range(count):
        total = np.float32(0)
        for j in range(d):
            total += clusters.keys[c, j] * q[j]
        logs[c], rest[0, c] = total, clusters.sizes[c]
    least = np.float32(np.inf)
    for n in range(ids.shape[0]):
        if ids[n] < 0:
            continue
        least = min(least, logits[n])
        c = clusters.cells[ids[n] - clusters.first]
        delta = logits[n] - logs[c]
        rest[0, c] -= 1
        first[c] += delta
        second[c] += delta * delta
    for c in range(count):
        if rest[0, c] < 0.5:
            logs[c], rest[1, c] = -np.inf, 0
            continue
        whole, shift = variance * clusters.spread[c], first[c] / rest[0, c]
        left = (clusters.sizes[c] * whole - second[c]) / rest[0, c] - shift * shift
        half = min(max(left, np.float32(0)), whole) / 2
        rest[1, c] = rest[0, c] / (1 + half) if clusters.taylor else rest[0, c]
        logs[c] = min(logs[c] - shift + (np.log1p(half) if clusters.taylor else half), least)


@njit(nogil=True, cache=True, fastmath=FAST)
def add_found(
    stored: Stored,
    clusters: Clusters,
    ids: np.ndarray,
    logits: np.ndarray,
    most: np.float32,
    weights: np.ndarray,
    out: np.ndarray,
) -> np.float32:
    """For one query, exp(logit - most) less its cluster's weight times each found row, into `out`; the sum of exp."""
    row, total, k = np.empty(stored.d, np.float32), np.float32(0), ids.shape[0]
    for n in range(k):
        if n + AHEAD < k and ids[n + AHEAD] >= 0:
            fetch_ahead(stored, ids[n + AHEAD])
        if ids[n] < 0:
            continue
        weight = exp(logits[n] - most)
        total += weight
        weight -= weights[clusters.cells[ids[n] - clusters.first]]
        read_row(stored, ids[n], row)
        for j in range(stored.d):
            out[j] += weight * row[j]
    return total


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_rest(
    stored: Stored,
    clusters: Clusters,
    q: np.ndarray,
    variances: np.ndarray,
    lean: np.ndarray,
    ids: np.ndarray,
    logits: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Attention of q (queries, d) over found rows, (queries, k), and the rest of every cluster: output and lse.

    A cluster's rest weighs a each, a = exp(`rest_of`); its values sum up to n v - sum of those found, so a found row
    counts exp(logit) - a, and a cluster n a. `lean` (queries, d) is how far the weighted mean of a cluster's values
    lies from the plain one. Mean keys and values are read once for all queries.
    """
    (queries, d), count, k = q.shape, clusters.keys.shape[0], ids.shape[1]
    out, lse = np.zeros((queries, d), np.float32), np.empty(queries, np.float32)
    logs, totals = np.empty((queries, count), np.float32), np.empty(queries, np.float32)
    rest = np.empty((2, count), np.float32)
    for g in range(queries):
        rest_of(clusters, q[g], variances[g], ids[g], logits[g], logs[g], rest)
        most = max(logs[g].max() if count else np.float32(-np.inf), logits[g].max() if k else np.float32(-np.inf))
        lse[g], totals[g] = most, 0
        if most == -np.inf:
            logs[g] = 0
            continue
        far, leans = np.float32(0), np.float32(0)
        for c in range(count):
            logs[g, c] = exp(logs[g, c] - most)
            far += logs[g, c] * rest[0, c]
            leans += logs[g, c] * rest[1, c]
        totals[g] = far
        totals[g] += add_found(stored, clusters, ids[g], logits[g], most, logs[g], out[g])
        for j in range(d):
            out[g, j] += leans * lean[g, j]
    for c in range(count):
        for g in range(queries):
            weight, mine, middle = logs[g, c] * clusters.sizes[c], out[g], clusters.values[c]
            for j in range(d):
                mine[j] += weight * middle[j]
    for g in range(queries):
        if totals[g] > 0:
            for j in range(d):
                out[g, j] /= totals[g]
            lse[g] += np.log(totals[g])
    return out, lse
