"""Attention of one decoded token to clustered rows of a layer: the clusters that matter row by row, the others as one.

All heads in a call, and what was attended to before (sinks, window) is merged in: Python is entered once a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, decode, exp, fetch_ahead, read_row
from fovea.attention_retrieval.kernels.running import TILE, Rows, Sums, absorb, finish, raise_most, scores
from fovea.attention_retrieval.kernels.spans import of_head
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.stored import Table

BINS, PER_NAT = 64, 4
"""Clusters are sorted by weight into 64 bins, each a quarter of a nat; the last has all below e^-16 of the largest."""
ROUNDS = 4
"""How often clusters are chosen at most."""
AHEAD = 4


class Waves(NamedTuple):
    """Clusters of all kv heads, one head's behind the other's, and those of a head segment by segment."""

    first: np.ndarray
    """Clusters of head h are first[h] to first[h + 1] - 1, (heads + 1,) int64."""
    segments: np.ndarray
    """Segments of head h, likewise."""
    clusters: np.ndarray
    """Clusters of each segment, (segments,) int64."""
    key_scales: np.ndarray
    """(low, scale) of a channel of a segment's mean keys, bf16, (segments, 2, d)."""
    starts: np.ndarray
    """Rows of cluster c are low[c] + members[starts[c] : starts[c + 1]], (clusters + 1,) int32."""
    low: np.ndarray
    """Where the segment of a cluster begins, (clusters,) int32."""
    members: np.ndarray
    """(rows,) uint16"""
    keys: np.ndarray
    """Codes of mean keys, (clusters, d) uint8."""
    values: np.ndarray
    """Codes of mean values, likewise."""
    value_scales: np.ndarray
    """(low, scale) of a mean value, bf16, (clusters, 2)."""
    spread: np.ndarray
    """How wide each is, bf16, (clusters,)."""
    around: np.ndarray
    """A, the upper triangle row by row, (heads, d (d + 1) / 2) float32."""
    factor: np.ndarray
    """spread factor q' A q / 2 is added to a cluster's logit, (heads,) float32."""


@njit(nogil=True, cache=True, fastmath=FAST)
def weigh(waves: Waves, head: int, q: np.ndarray, logs: np.ndarray) -> None:
    """The log of the mean exp(logit) of each cluster's rows into logs (queries, clusters of the head)."""
    first, (queries, d), end = waves.first[head], q.shape, 0
    tile, some = np.empty((TILE, d), np.float32), np.empty((queries, TILE), np.float32)
    scaled, base = np.empty((queries, d), np.float32), np.empty(queries, np.float32)
    for s in range(waves.segments[head], waves.segments[head + 1]):
        fold(waves.key_scales[s], q, scaled, base)
        start, end = end, end + waves.clusters[s]
        for at in range(start, end, TILE):
            here = min(TILE, end - at)
            for n in range(here):
                for j in range(d):
                    tile[n, j] = np.float32(np.int32(waves.keys[first + at + n, j]))
            scores(scaled, tile, here, some)
            for g in range(queries):
                for n in range(here):
                    logs[g, at + n] = some[g, n] + base[g]
    for g in range(queries):
        wide = max(half_form(waves.around[head], q[g]) * waves.factor[head], np.float32(0))
        for c in range(end):
            logs[g, c] += wide * decode(waves.spread[first + c])


@njit(nogil=True, cache=True, fastmath=FAST)
def fold(pairs: np.ndarray, q: np.ndarray, scaled: np.ndarray, base: np.ndarray) -> None:
    """q . (low + scale * code) = base + scaled . code, for all codes of these channels' pairs (2, d)."""
    for g in range(q.shape[0]):
        total = np.float32(0)
        for j in range(q.shape[1]):
            total += q[g, j] * decode(pairs[0, j])
            scaled[g, j] = q[g, j] * decode(pairs[1, j])
        base[g] = total


@njit(nogil=True, cache=True, fastmath=FAST)
def half_form(around: np.ndarray, q: np.ndarray) -> np.floating:
    """q' A q / 2 of a symmetric A, of which the upper triangle is given row by row."""
    total, at, d = np.float32(0), 0, q.shape[0]
    for i in range(d):
        mine = around[at] * q[i] * np.float32(0.5)
        for j in range(1, d - i):
            mine += around[at + j] * q[i + j]
        total += mine * q[i]
        at += d - i
    return total


@njit(nogil=True, inline="always")
def bin_of(log: np.floating, top: np.floating) -> int:
    """The bin of a weight; the last one where no difference can be told, of infinities."""
    below = (top - log) * np.float32(PER_NAT)
    return int(below) if below < BINS - 1 else BINS - 1


@njit(nogil=True, cache=True, fastmath=FAST)
def choose(
    sizes: np.ndarray, logs: np.ndarray, lse: np.floating, rest: float, most_rows: float, chosen: np.ndarray
) -> float:
    """Mark in `chosen` the heaviest clusters of one query, until those left have at most `rest` of all its weight.

    `logs` (clusters,) are of a row, minus infinity for a cluster that was read; `lse` is of all that was attended to.
    At most `most_rows` rows are marked; returns how many.
    """
    count, top = logs.shape[0], np.float32(-np.inf)
    for c in range(count):
        top = max(top, logs[c])
    if top == -np.inf:
        return 0.0
    mass, rows = np.zeros(BINS, np.float32), np.zeros(BINS, np.float32)
    for c in range(count):
        if logs[c] > -np.inf:
            place = bin_of(logs[c], top)
            mass[place] += exp(logs[c] - top) * sizes[c]
            rows[place] += sizes[c]
    left, taken, cut = mass.sum() if rest > 0 else np.float32(np.inf), np.float32(0), 0
    allowed = rest * (mass.sum() + np.exp(min(lse - top, np.float32(80))))
    while cut < BINS and left > allowed and taken + rows[cut] <= most_rows:
        left, taken, cut = left - mass[cut], taken + rows[cut], cut + 1
    for c in range(count):
        if logs[c] > -np.inf and bin_of(logs[c], top) < cut:
            chosen[c] = True
    return float(taken)


@njit(nogil=True, cache=True, fastmath=FAST)
def read_chosen(
    rows: Rows, waves: Waves, first: int, chosen: np.ndarray, q: np.ndarray, logs: np.ndarray, sums: Sums
) -> int:
    """Take the rows of chosen clusters in, exactly, and set their logs to minus infinity; returns how many rows.

    `first` is the head's first cluster; `chosen` (clusters,) and `logs` (queries, clusters) are from there on.
    """
    (queries, d), read, count = q.shape, 0, np.int64(0)
    keys, values = np.empty((TILE, d), np.float32), np.empty((TILE, d), np.float32)
    logits = np.empty((queries, TILE), np.float32)
    for c in range(chosen.shape[0]):
        if not chosen[c]:
            continue
        for g in range(queries):
            logs[g, c] = -np.inf
        begin, end, low = waves.starts[first + c], waves.starts[first + c + 1], np.int64(waves.low[first + c])
        read += end - begin
        for at in range(begin, end):
            if at + AHEAD < end:
                fetch_ahead(rows.keys, low + np.int64(waves.members[at + AHEAD]))
                fetch_ahead(rows.values, low + np.int64(waves.members[at + AHEAD]))
            read_row(rows.keys, low + np.int64(waves.members[at]), keys[count])
            read_row(rows.values, low + np.int64(waves.members[at]), values[count])
            count += 1
            if count == TILE:
                scores(q, keys, count, logits)
                absorb(values, count, logits, sums)
                count = np.int64(0)
    if count:
        scores(q, keys, count, logits)
        absorb(values, count, logits, sums)
    return read


@njit(nogil=True, cache=True, fastmath=FAST)
def add_others(waves: Waves, first: int, sizes: np.ndarray, logs: np.ndarray, sums: Sums) -> None:
    """Take in the clusters that were not read, each as so many rows of one weight and its mean value; spoils logs."""
    (queries, count), d = logs.shape, sums.out.shape[1]
    row = np.empty(d, np.float32)
    for g in range(queries):
        mine, top = logs[g], np.float32(-np.inf)
        for c in range(count):
            top = max(top, mine[c])
        if top == -np.inf:
            mine[:] = 0
            continue
        raise_most(top, g, sums)
        most, added = sums.most[g], np.float32(0)
        for c in range(count):
            mine[c] = exp(mine[c] - most) * sizes[c]
            added += mine[c]
        sums.total[g] += added
    for c in range(count):
        if logs[:, c].max() > 0:
            low, scale = decode(waves.value_scales[first + c, 0]), decode(waves.value_scales[first + c, 1])
            for j in range(d):
                row[j] = low + scale * np.float32(np.int32(waves.values[first + c, j]))
            for g in range(queries):
                weight, out = logs[g, c], sums.out[g]
                for j in range(d):
                    out[j] += weight * row[j]


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_waves(
    keys: Table, values: Table, waves: Waves, q: np.ndarray, near: Partial, rest: float, most_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention of q (heads, queries, d), times the scaling, to all clustered rows, and to what was attended to before.

    `near` is that, (heads, queries, d) and (heads, queries): minus infinity for nothing. Clusters that any query of a
    head's group chooses are read once for all of them. What a cluster weighs is an estimate until it is read: where
    that was too high, others are chosen in a further round. Returns output, log-sum-exp, and rows read by head.
    """
    heads, queries, _ = q.shape
    out, lse, read = near.out.copy(), np.empty((heads, queries), np.float32), np.zeros(heads, np.int64)
    for head in range(heads):
        first, count = waves.first[head], waves.first[head + 1] - waves.first[head]
        sums = Sums(near.lse[head].copy(), np.ones(queries, np.float32), out[head])
        for g in range(queries):
            if sums.most[g] == -np.inf:
                sums.total[g] = 0
        if count:
            starts = waves.starts[first : first + count + 1]
            sizes = (starts[1:] - starts[:-1]).astype(np.float32)
            logs, room = np.empty((queries, count), np.float32), np.full(queries, most_rows, np.float64)
            weigh(waves, head, q[head], logs)
            for _ in range(ROUNDS):
                chosen, more = np.zeros(count, np.bool_), 0.0
                for g in range(queries):
                    so_far = sums.most[g] + np.log(sums.total[g]) if sums.total[g] > 0 else np.float32(-np.inf)
                    taken = choose(sizes, logs[g], so_far, rest, room[g], chosen)
                    room[g], more = room[g] - taken, more + taken
                if more == 0:
                    break
                read[head] += read_chosen(of_head(keys, values, head), waves, first, chosen, q[head], logs, sums)
            add_others(waves, first, sizes, logs, sums)
        finish(sums, lse[head])
    return out, lse, read
