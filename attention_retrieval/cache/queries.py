"""The prompt's queries that an index learns from: a thin sample of all positions, and all of the last ones.

Kept is the first position of every stride, the smallest power of two that keeps the sample within its size, and the
last quarter of the size whole: they are most like the queries to come. So the sample depends on the positions alone,
not on the pieces in which a prompt was read; of positions that were taken back, nothing is left.
"""

from __future__ import annotations

import numpy as np


class QuerySample:
    """Queries `(heads, positions, d)` of one layer; at most about `size` positions."""

    def __init__(self, size: int) -> None:
        self.last, self.spread = max(size // 4, 1), max(size - size // 4, 1)
        self.stride = 1
        self.positions = np.empty(0, np.int64)
        self.queries: np.ndarray | None = None

    def add(self, queries: np.ndarray, start: int) -> None:
        """Queries (heads, positions, d) of the positions from `start` on, in order."""
        positions = np.concatenate([self.positions, np.arange(start, start + queries.shape[1])])
        whole = queries if self.queries is None else np.concatenate([self.queries, queries], axis=1)
        end = start + queries.shape[1]
        self._fit(end)
        keep = (np.diff(positions // self.stride, prepend=-1) > 0) | (positions >= end - self.last)
        self.positions, self.queries = positions[keep], np.ascontiguousarray(whole[:, keep])

    def keep(self, kept: np.ndarray) -> None:
        """Of the positions up to now, only those where `kept` (positions,) is true are left, and close up."""
        if self.queries is not None:
            mine = np.isin(self.positions, np.flatnonzero(kept))
            self.positions = np.cumsum(kept)[self.positions[mine]] - 1
            self.queries = np.ascontiguousarray(self.queries[:, mine])
        self.stride = 1
        self._fit(int(kept.sum()))

    def _fit(self, end: int) -> None:
        while end > self.stride * self.spread:
            self.stride *= 2

    def group(self, head: int, size: int) -> np.ndarray | None:
        """The queries of kv head `head` whose group has `size` query heads, (positions * size, d), by position."""
        if self.queries is None:
            return None
        mine = self.queries[head * size : (head + 1) * size]
        return np.ascontiguousarray(mine.transpose(1, 0, 2).reshape(-1, mine.shape[2]))
