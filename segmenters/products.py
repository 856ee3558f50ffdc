"""Inner products of the units of a text, near ones for long texts (`band`) or all of a stretch (`gram`), in the two
kinds of rows that units have: vectors of an encoder and counts of words.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np

COLUMNS = 1024
"""Words whose counts are multiplied at a time, which bounds memory."""


class Rows(ABC):
    """A row of numbers a unit."""

    @abstractmethod
    def __len__(self) -> int:
        """How many units."""

    @abstractmethod
    def band(self, width: int) -> np.ndarray:
        """`band[d, i] = <row i, row i + d>` for d < width, 0 past the end: float32 `(width, units)`."""

    @abstractmethod
    def gram(self, start: int, stop: int) -> np.ndarray:
        """All products of the rows `[start, stop)`: float32 `(stop - start, stop - start)`."""


@dataclass(frozen=True)
class Vectors(Rows):
    """Rows of an encoder."""

    rows: np.ndarray
    """float32 `(units, dim)`."""

    def __len__(self) -> int:
        return len(self.rows)

    def band(self, width: int) -> np.ndarray:
        """O(units * width * dim)."""
        n = len(self.rows)
        found = np.zeros((width, n), np.float32)
        for d in range(min(width, n)):
            found[d, : n - d] = np.einsum("ij,ij->i", self.rows[: n - d], self.rows[d:])
        return found

    def gram(self, start: int, stop: int) -> np.ndarray:
        """O((stop - start)^2 * dim)."""
        part = self.rows[start:stop]
        return part @ part.T


@dataclass(frozen=True)
class Counts(Rows):
    """Sparse rows: entry e says that row `row[e]` has `value[e]` in column `term[e]`; they rise by row, then term."""

    row: np.ndarray
    term: np.ndarray
    value: np.ndarray
    """float32 `(entries,)`."""
    units: int

    def __len__(self) -> int:
        return self.units

    def of_unit_length(self) -> Counts:
        """Each row divided by its length, so that products are cosines; a row without entries stays without."""
        length = np.sqrt(np.bincount(self.row, self.value.astype(np.float64) ** 2, self.units))
        return replace(self, value=(self.value / length[self.row]).astype(np.float32))

    def band(self, width: int) -> np.ndarray:
        """O(entries * width) at most: each use of a word meets its next uses, as far as `width` reaches."""
        order = np.lexsort((self.row, self.term))
        row, term, value = self.row[order], self.term[order], self.value[order]
        found = np.zeros((width, self.units))
        found[0] = np.bincount(row, value.astype(np.float64) ** 2, self.units)
        near = np.arange(len(row))
        for lag in range(1, width):
            near = near[near + lag < len(row)]
            apart = row[near + lag] - row[near]
            meets = (term[near] == term[near + lag]) & (apart < width)
            near, apart = near[meets], apart[meets]
            cells = apart * self.units + row[near]
            found += np.bincount(cells, value[near] * value[near + lag], found.size).reshape(found.shape)
        return found.astype(np.float32)

    def gram(self, start: int, stop: int) -> np.ndarray:
        """O((stop - start)^2 * words that occur in two of the rows); memory does not grow with the words."""
        here = slice(*np.searchsorted(self.row, [start, stop]))
        row, value = self.row[here] - start, self.value[here]
        _, column, uses = np.unique(self.term[here], return_inverse=True, return_counts=True)
        # A word of one row alone counts in that row's product with itself and nowhere else.
        alone = uses[column] == 1
        found = np.diag(np.bincount(row[alone], value[alone] ** 2, stop - start)).astype(np.float32)
        rank = np.cumsum(uses > 1) - 1
        row, value, column = row[~alone], value[~alone], rank[column[~alone]]
        for first in range(0, int((uses > 1).sum()), COLUMNS):
            part = np.zeros((stop - start, COLUMNS), np.float32)
            inside = (column >= first) & (column < first + COLUMNS)
            part[row[inside], column[inside] - first] = value[inside]
            found += part @ part.T
        return found
