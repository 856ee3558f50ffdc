"""Attention of one decoded token to clustered rows of a layer: the clusters that matter row by row, the others as one.

All heads in a call, and what was attended to before (sinks, window) is merged in: Python is entered once a layer.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.load import FAST, decode, exp, fetch_ahead, read_row
from fovea.attention_retrieval.kernels.running import TILE, absorb, finish, raise_most, scores
from fovea.attention_retrieval.kernels.spans import of_head
from fovea.attention_retrieval.vectors import Table

BINS, PER_NAT = 64, 4
"""Clusters are sorted by weight into 64 bins, each a quarter of a nat; the last has all below e^-16 of the largest."""
ROUNDS = 4
"""How often clusters are chosen at most."""
AHEAD = 4


class Waves(NamedTuple):
    """Clusters of all kv heads, one head's behind the other's."""

    first: np.ndarray
    """Clusters of head h are first[h] to first[h + 1] - 1, (heads + 1,) int64."""
    starts: np.ndarray
    """Rows of cluster c are members[starts[c] : starts[c + 1]], (clusters + 1,) int64."""
    members: np.ndarray
    """Row numbers, (rows,) int32."""
    keys: np.ndarray
    """Mean keys, bf16 codes, (clusters, d)."""
    values: np.ndarray
    """Mean values, likewise."""
    spread: np.ndarray
    """How wide each is, (clusters,) float32."""
    around: np.ndarray
    """A, (heads, d, d) float32: spread q' A q is added to a cluster's logit."""


@njit(nogil=True, cache=True, fastmath=FAST)
def weigh(waves: Waves, head: int, q: np.ndarray, logs: np.ndarray) -> None:
    """The log of the mean exp(logit) of each cluster's rows into logs (queries, clusters of the head)."""
    first, count, (queries, d) = waves.first[head], logs.shape[1], q.shape
    tile, some = np.empty((TILE, d), np.float32), np.empty((queries, TILE), np.float32)
    for at in range(0, count, TILE):
        here = min(TILE, count - at)
        for n in range(here):
            for j in range(d):
                tile[n, j] = decode(waves.keys[first + at + n, j])
        scores(q, tile, here, some)
        for g in range(queries):
            for n in range(here):
                logs[g, at + n] = some[g, n]
    for g in range(queries):
        wide = np.float32(0)
        for i in range(d):
            mine = np.float32(0)
            for j in range(d):
                mine += waves.around[head, i, j] * q[g, j]
            wide += mine * q[g, i]
        for c in range(count):
            logs[g, c] += max(wide, np.float32(0)) * waves.spread[first + c]


@njit(nogil=True, cache=True, fastmath=FAST)
def choose(sizes: np.ndarray, logs: np.ndarray, lse: float, rest: float, most_rows: float, chosen: np.ndarray) -> float:
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
            place = min(int((top - logs[c]) * np.float32(PER_NAT)), BINS - 1)
            mass[place] += exp(logs[c] - top) * sizes[c]
            rows[place] += sizes[c]
    left, taken, cut = mass.sum(), np.float32(0), 0
    allowed = rest * (left + np.exp(min(lse - top, 80.0)))
    while cut < BINS and left > allowed and taken + rows[cut] <= most_rows:
        left, taken, cut = left - mass[cut], taken + rows[cut], cut + 1
    for c in range(count):
        if logs[c] > -np.inf and min(int((top - logs[c]) * np.float32(PER_NAT)), BINS - 1) < cut:
            chosen[c] = True
    return taken


@njit(nogil=True, cache=True, fastmath=FAST)
def read_chosen(
    keys: Table,
    values: Table,
    waves: Waves,
    head: int,
    chosen: np.ndarray,
    q: np.ndarray,
    logs: np.ndarray,
    most: np.ndarray,
    total: np.ndarray,
    out: np.ndarray,
) -> int:
    """Take the rows of chosen clusters in, exactly, and set their logs to minus infinity; returns how many rows."""
    (queries, d), first, read, count = q.shape, waves.first[head], 0, 0
    mine, other = of_head(keys, head), of_head(values, head)
    tile, wide, logits = np.empty((TILE, d), np.float32), np.empty((TILE, d), np.float32), np.empty((queries, TILE), np.float32)
    for c in range(chosen.shape[0]):
        if not chosen[c]:
            continue
        for g in range(queries):
            logs[g, c] = -np.inf
        begin, end = waves.starts[first + c], waves.starts[first + c + 1]
        read += end - begin
        for at in range(begin, end):
            if at + AHEAD < end:
                fetch_ahead(mine, waves.members[at + AHEAD])
                fetch_ahead(other, waves.members[at + AHEAD])
            read_row(mine, waves.members[at], tile[count])
            read_row(other, waves.members[at], wide[count])
            count += 1
            if count == TILE:
                scores(q, tile, count, logits)
                absorb(wide, count, logits, most, total, out)
                count = 0
    if count:
        scores(q, tile, count, logits)
        absorb(wide, count, logits, most, total, out)
    return read


@njit(nogil=True, cache=True, fastmath=FAST)
def add_others(
    waves: Waves,
    head: int,
    sizes: np.ndarray,
    logs: np.ndarray,
    most: np.ndarray,
    total: np.ndarray,
    out: np.ndarray,
) -> None:
    """Take in the clusters that were not read, each as so many rows of one weight and its mean value; spoils logs."""
    (queries, d), first, count = out.shape, waves.first[head], logs.shape[1]
    row = np.empty(d, np.float32)
    for g in range(queries):
        top = np.float32(-np.inf)
        for c in range(count):
            top = max(top, logs[g, c])
        if top == -np.inf:
            logs[g] = 0
            continue
        raise_most(top, g, most, total, out)
        added = np.float32(0)
        for c in range(count):
            logs[g, c] = exp(logs[g, c] - most[g]) * sizes[c]
            added += logs[g, c]
        total[g] += added
    for c in range(count):
        if logs[:, c].max() > 0:
            for j in range(d):
                row[j] = decode(waves.values[first + c, j])
            for g in range(queries):
                weight, mine = logs[g, c], out[g]
                for j in range(d):
                    mine[j] += weight * row[j]


@njit(nogil=True, cache=True, fastmath=FAST)
def attend_waves(
    keys: Table,
    values: Table,
    waves: Waves,
    q: np.ndarray,
    near: np.ndarray,
    near_lse: np.ndarray,
    rest: float,
    most_rows: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Attention of q (heads, queries, d), times the scaling, to all clustered rows, and to what was attended to before.

    `near` (heads, queries, d) and `near_lse` (heads, queries) are that: minus infinity for nothing. Clusters that any
    query of a head's group chooses are read once for all of them. What a cluster weighs is an estimate until it is
    read: where that was too high, others are chosen in a further round. Returns output, log-sum-exp, and rows read by
    head.
    """
    heads, queries, d = q.shape
    out, lse, read = near.copy(), np.empty((heads, queries), np.float32), np.zeros(heads, np.int64)
    for head in range(heads):
        first, end = waves.first[head], waves.first[head + 1]
        sizes = (waves.starts[first + 1 : end + 1] - waves.starts[first:end]).astype(np.float32)
        logs, room = np.empty((queries, end - first), np.float32), np.full(queries, most_rows, np.float64)
        most, total = near_lse[head].copy(), np.ones(queries, np.float32)
        for g in range(queries):
            if most[g] == -np.inf:
                total[g] = 0
        if end > first:
            weigh(waves, head, q[head], logs)
            for _ in range(ROUNDS):
                chosen, more = np.zeros(end - first, np.bool_), 0.0
                for g in range(queries):
                    so_far = most[g] + np.log(total[g]) if total[g] > 0 else np.float32(-np.inf)
                    taken = choose(sizes, logs[g], so_far, rest, room[g], chosen)
                    room[g], more = room[g] - taken, more + taken
                if more == 0:
                    break
                read[head] += read_chosen(keys, values, waves, head, chosen, q[head], logs, most, total, out[head])
            add_others(waves, head, sizes, logs, most, total, out[head])
        finish(most, total, out[head], lse[head])
    return out, lse, read
