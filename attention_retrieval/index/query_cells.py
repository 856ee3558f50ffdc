"""Query cells: training queries in cells of sixteen, so that those nearest to a new query are found by few products.

Two queries are near if they rank the keys alike, so nearness is the correlation of their logits over all keys:

    corr(q, p) = q' C p / (|q|_C |p|_C),   C = covariance of the keys = V diag(spread) V'

Queries are kept rotated, V' q: the first `rank` columns carry most of C and serve for the search, all of them together
still give exact logits. Cells come from cutting at the median of the main direction, again and again, so every cell has
sixteen queries (a set of them is a mask of 16 bits), and sixteen neighbouring cells make a super cell.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.index.state import part
from fovea.attention_retrieval.kernels.cells import CELL, QueryCells
from fovea.attention_retrieval.rounding import to_bf16


def cells_of(keys: Keys, queries: np.ndarray, rank: int) -> tuple[QueryCells, np.ndarray]:
    """Cells of `queries` (a multiple of 16, d), and the order that the queries now stand in."""
    rotation, spread = directions(keys)
    lifted = keys.lifted(queries).astype(np.float32)
    rank, count = min(rank, len(rotation)), len(queries) // CELL
    turned = lifted @ rotation
    scaled = turned[:, :rank] * np.sqrt(spread[:rank])
    order = halved(scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1e-20))
    cells = QueryCells(
        rotation,
        spread[:rank],
        to_bf16(turned[order]),
        np.empty(len(order), np.float32),
        np.empty((count, rank), np.float32),
        np.empty((-(-count // CELL), rank), np.float32),
    )
    cells.renorm(slice(0, len(order)))
    cells.recentre(slice(0, count))
    return cells, order


def restored(state: Mapping[str, np.ndarray], d: int, queries: int) -> QueryCells:
    """The cells in `state`, for `queries` queries of width d; raises StoreError where its arrays do not fit."""
    spread = part(state, "spread", np.float32, (None,))
    rotation = part(state, "rotation", np.float32, (d, None))
    rank, cells = len(spread), queries // CELL
    return QueryCells(
        rotation,
        spread,
        part(state, "asked", np.uint16, (cells * CELL, rotation.shape[1])),
        part(state, "norms", np.float32, (cells * CELL,)),
        part(state, "centres", np.float32, (cells, rank)),
        part(state, "supers", np.float32, (-(-cells // CELL), rank)),
    )


def directions(keys: Keys) -> tuple[np.ndarray, np.ndarray]:
    """Main directions of the keys, (d, d) a column each, and the variance along each, largest first."""
    step = max(len(keys) // 16384, 1)
    blocks = [keys.matrix(low, min(low + 4096, keys.stop))[::step] for low in range(keys.start, keys.stop, 4096)]
    sample = np.concatenate([*blocks, np.zeros((0, keys.width))]).astype(np.float64)
    sample -= sample.mean(axis=0) if len(sample) else 0
    spread, rotation = np.linalg.eigh(sample.T @ sample / max(len(sample), 1))
    most = spread[-1] if spread[-1] > 1e-20 else 1.0
    floor = most * 1e-6 if spread[-1] > 1e-20 else 1.0  # all keys are equal: plain cosine
    return rotation[:, ::-1].astype(np.float32), np.maximum(spread[::-1], floor).astype(np.float32)


def halved(units: np.ndarray) -> np.ndarray:
    """An order of the rows in which each sixteen are near: cut at the median of the main direction, again and again."""
    order, todo = np.arange(len(units)), [(0, len(units))]
    while todo:
        low, high = todo.pop()
        cells = (high - low) // CELL
        if cells < 2:
            continue
        here = units[order[low:high]]
        along = np.argsort(here @ main_direction(here), kind="stable")
        order[low:high] = order[low:high][along]
        middle = low + cells // 2 * CELL
        todo += [(low, middle), (middle, high)]
    return order


def main_direction(rows: np.ndarray) -> np.ndarray:
    """The direction along which `rows` (n, d) vary most, by eight steps of power iteration."""
    centred = rows - rows.mean(axis=0)
    moment = centred.T @ centred
    direction = moment[:, np.argmax(np.diag(moment))]
    for _ in range(8):
        direction = moment @ direction
        direction = direction / max(float(np.linalg.norm(direction)), 1e-20)
    return direction
