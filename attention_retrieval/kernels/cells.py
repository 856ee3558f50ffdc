"""Query cells as the kernels walk them: queries in cells of sixteen, and sixteen cells to a super cell."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.rounding import decode, to_bf16

CELL = 16
"""Queries of a cell, and cells of a super cell."""


class QueryCells(NamedTuple):
    """Arrays of T = 16 * cells queries of width d (one more with a bias); cell c holds queries 16 c to 16 c + 15."""

    rotation: np.ndarray
    """(d, d) float32, a direction a column."""
    spread: np.ndarray
    """(rank,) float32, the variance of the keys along the first directions."""
    asked: np.ndarray
    """(T, d) bf16 codes of the rotated queries."""
    norms: np.ndarray
    """(T,) float32, 1 / |q|_C over the first `rank` directions."""
    centres: np.ndarray
    """(cells, rank) float32: mean of the cell's unit vectors diag(sqrt(spread)) V' q / |q|_C."""
    supers: np.ndarray
    """(super cells, rank) float32: mean of their centres."""

    def rotated(self, lifted: np.ndarray) -> np.ndarray:
        """V' q for each of (n, d)."""
        turned: np.ndarray = lifted @ self.rotation
        return turned

    def plain(self, slots: np.ndarray) -> np.ndarray:
        """The queries in `slots` as they were, (slots, d)."""
        back: np.ndarray = decode(self.asked[slots]) @ self.rotation.T
        return back

    def replace(self, slot: int, lifted: np.ndarray) -> None:
        """Another query in the place of one."""
        self.asked[slot] = to_bf16(self.rotated(lifted[None])[0])
        self.renorm(slice(slot, slot + 1))
        cell = slot // CELL
        self.recentre(slice(cell, cell + 1))

    def renorm(self, slots: slice) -> None:
        """Norms of the queries in `slots`, from their codes."""
        self.norms[slots] = 1 / np.maximum(np.linalg.norm(self._scaled(slots), axis=1), 1e-20)

    def recentre(self, cells: slice) -> None:
        """Centres of these cells, and of the super cells that they are in."""
        slots = slice(cells.start * CELL, cells.stop * CELL)
        units = self._scaled(slots) * self.norms[slots, None]
        self.centres[cells] = units.reshape(-1, CELL, units.shape[1]).mean(axis=1)
        for n in range(cells.start // CELL, -(-cells.stop // CELL)):
            self.supers[n] = self.centres[n * CELL : (n + 1) * CELL].mean(axis=0)

    def _scaled(self, slots: slice) -> np.ndarray:
        scaled: np.ndarray = decode(self.asked[slots, : len(self.spread)]) * np.sqrt(self.spread)
        return scaled
