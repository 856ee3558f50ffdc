"""From new queries to the training queries most like them: super cells, then cells, then the queries of the cells."""

from __future__ import annotations

import numpy as np
from numba import njit

from fovea.attention_retrieval.kernels.cells import CELL, QueryCells
from fovea.attention_retrieval.kernels.load import FAST, decode

SHARP = np.float32(4)
"""A training query that is twice as far from perfect correlation as the nearest one has e^-4 of its say."""
CLOSE = np.float32(0.02)
"""Nearest ones that are nearer than this count as being so far."""
FAINT = np.float32(9)
"""One that has less than e^-9 of the nearest one's say has none: its keys need not be looked at."""


@njit(nogil=True, cache=True)
def pick(scores: np.ndarray, count: int, picked: np.ndarray) -> None:
    """The places of the `count` largest of `scores`, best first; count is small, and `scores` is spent."""
    for n in range(count):
        best = 0
        for j in range(1, scores.shape[0]):
            if scores[j] > scores[best]:
                best = j
        picked[n] = best
        scores[best] = -np.inf


@njit(nogil=True, cache=True, fastmath=FAST)
def products(table: np.ndarray, unit: np.ndarray, low: int | np.integer, high: int, out: np.ndarray) -> None:
    """Products of `unit` (rank,) with rows `low` to `high` of a float32 table."""
    for n in range(low, high):
        total = np.float32(0)
        for j in range(unit.shape[0]):
            total += table[n, j] * unit[j]
        out[n - low] = total


@njit(nogil=True, cache=True, fastmath=FAST)
def unit_of(cells: QueryCells, roots: np.ndarray, lifted: np.ndarray) -> np.ndarray:
    """The unit vector of a query, `roots V' q / |roots V' q|`, (rank,)."""
    unit = np.zeros(roots.shape[0], np.float32)
    for i in range(lifted.shape[0]):
        for j in range(unit.shape[0]):
            unit[j] += cells.rotation[i, j] * lifted[i]
    total = np.float32(0)
    for j in range(unit.shape[0]):
        unit[j] *= roots[j]
        total += unit[j] * unit[j]
    length = max(np.sqrt(total), np.float32(1e-20))
    for j in range(unit.shape[0]):
        unit[j] /= length
    return unit


@njit(nogil=True, cache=True)
def best_cells(cells: QueryCells, unit: np.ndarray, probes: int) -> tuple[np.ndarray, int]:
    """The `probes` cells whose centres are most like `unit`, of the likeliest super cells; and how many were scored."""
    count, supers = cells.centres.shape[0], cells.supers.shape[0]
    opened = min(max(probes // 2, -(-probes // CELL) + 1), supers)
    scores, chosen = np.empty(supers, np.float32), np.empty(opened, np.int64)
    products(cells.supers, unit, np.int64(0), supers, scores)
    pick(scores, opened, chosen)
    scores, names, many = np.empty(opened * CELL, np.float32), np.empty(opened * CELL, np.int32), 0
    for n in range(opened):
        low, high = chosen[n] * CELL, min(chosen[n] * CELL + CELL, count)
        products(cells.centres, unit, low, high, scores[many:])
        for c in range(low, high):
            names[many] = c
            many += 1
    chosen = np.empty(min(probes, many), np.int64)
    pick(scores[:many], chosen.shape[0], chosen)
    return names[chosen], supers + many


@njit(nogil=True, cache=True, fastmath=FAST)
def likeness(cells: QueryCells, scaled: np.ndarray, cell: int, out: np.ndarray) -> None:
    """Correlation with each of a cell's queries, (16,); `scaled` is the unit vector times the roots."""
    for i in range(CELL):
        total = np.float32(0)
        for j in range(scaled.shape[0]):
            total += scaled[j] * decode(cells.asked[cell * CELL + i, j])
        out[i] = total * cells.norms[cell * CELL + i]


@njit(nogil=True, cache=True, fastmath=FAST)
def shares(alike: np.ndarray) -> None:
    """Correlations become weights exp(-4 (far - near) / near) / sum, in place: far is 1 - corr, near the least of them.

    So the say of a training query is judged by how near the nearest one is: among queries that repeat themselves a few
    speak, among queries that are all unlike the new one many.
    """
    flat = alike.ravel()
    most, total = flat.max(), np.float32(0)
    sharp = SHARP / max(np.float32(1) - most, CLOSE)
    for n in range(flat.shape[0]):
        less = sharp * (most - flat[n])
        flat[n] = np.exp(-less) if less < FAINT else np.float32(0)
        total += flat[n]
    for n in range(flat.shape[0]):
        flat[n] /= total


@njit(nogil=True, cache=True)
def near_cells(cells: QueryCells, lifted: np.ndarray, probes: int) -> tuple[np.ndarray, np.ndarray, int]:
    """For new queries (G, d): `probes` cells each, and in them the weights of their training queries.

    Returns cells (n,), each once for all queries; weights (n, 16), which sum to one for each query and are summed over
    the queries; and how many vectors were scored.
    """
    probes = min(probes, cells.centres.shape[0])
    roots, size, scored = np.sqrt(cells.spread), 0, 0
    found, weights = np.empty(len(lifted) * probes, np.int32), np.zeros((len(lifted) * probes, CELL), np.float32)
    for g in range(lifted.shape[0]):
        unit = unit_of(cells, roots, lifted[g])
        chosen, seen = best_cells(cells, unit, probes)
        alike = np.empty((chosen.shape[0], CELL), np.float32)
        for n in range(chosen.shape[0]):
            likeness(cells, unit * roots, chosen[n], alike[n])
        shares(alike)
        scored += seen + alike.size
        for n in range(chosen.shape[0]):
            at = 0
            while at < size and found[at] != chosen[n]:
                at += 1
            found[at] = chosen[n]
            size = max(size, at + 1)
            for i in range(CELL):  # for a row at once Numba compiles what would word a mismatch, too
                weights[at, i] += alike[n, i]
    return found[:size], weights[:size], scored
