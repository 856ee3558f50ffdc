"""All: every row is read, and nothing is kept beside keys and values.

For a text whose rows are few because others were dropped, and to measure what dropping alone does: a step takes time in
proportion to what is held.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Vectors


class Everything(Selection, name="all"):
    """Full attention to what is held."""

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> EverythingSelected:
        """At once."""
        return EverythingSelected(keys, values, start, stop)

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> EverythingSelected:
        """There is no state."""
        return EverythingSelected(keys, values, start, stop)


class EverythingSelected(Selected):
    """The rows themselves."""

    def __init__(self, keys: Vectors, values: Vectors, start: int, stop: int) -> None:
        self.keys, self.values, self.start, self.stop = keys, values, start, stop
        self.reader, self.why = "all", "every row is read"
        self._row_bytes = keys.head(0).row_bytes + values.head(0).row_bytes

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """O(rows * d) a query."""
        from fovea.attention_retrieval.kernels.spans import attend_spans

        spans = np.broadcast_to(np.array([self.start, self.stop]), (self.keys.heads, 1, 2)).copy()
        part = Partial(*attend_spans(self.keys.table, self.values.table, np.ascontiguousarray(q), spans))
        rows = np.full(self.keys.heads, self.stop - self.start)
        return Read(merge(near, part), rows, rows * self._row_bytes)

    def insert(self, stop: int) -> None:
        """They are there."""
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}
