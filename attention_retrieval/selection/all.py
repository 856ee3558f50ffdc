"""All: every row is read, and nothing is kept beside keys and values.

For a text whose rows are few because others were dropped, and to measure what dropping alone does: a step takes time in
proportion to what is held.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Vectors


class All(Selection, name="all"):
    """Full attention to what is held."""

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> AllSelected:
        """At once."""
        return AllSelected(keys, values, start, stop)

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> AllSelected:
        """Of the same rows."""
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        return AllSelected(keys, values, start, stop)


class AllSelected(Selected):
    """The rows themselves."""

    def __init__(self, keys: Vectors, values: Vectors, start: int, stop: int) -> None:
        self.keys, self.values, self.start, self.stop = keys, values, start, stop
        self.reader, self.why = "all", "every row is read"
        self._row_bytes = keys.head(0).row_bytes + values.head(0).row_bytes

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """O(rows * d) a query."""
        from fovea.attention_retrieval.kernels.spans import attend_spans

        spans = np.broadcast_to(np.array([self.start, self.stop]), (self.keys.heads, 1, 2)).copy()
        far = Partial(*attend_spans(self.keys.table, self.values.table, np.ascontiguousarray(q), spans))
        rows = np.full(self.keys.heads, self.stop - self.start)
        return Read(merge(near, far), rows, rows * self._row_bytes)

    def insert(self, stop: int) -> None:
        """They are there."""
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Which rows."""
        return {"rows": np.array([self.start, self.stop], np.int64)}
