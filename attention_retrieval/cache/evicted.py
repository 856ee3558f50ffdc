"""Where the rows of a text stand that an eviction has left."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Evicted(NamedTuple):
    """What is left of the first `tokens` tokens of a text; those after them are all there."""

    tokens: int
    at: np.ndarray
    """Which of them, (kv heads, rows) int64, ascending."""

    @property
    def rows(self) -> int:
        """Rows that each head kept."""
        return self.at.shape[1]

    @property
    def whole_from(self) -> int:
        """The token from which on every head has them all."""
        gaps = np.flatnonzero((self.at != np.arange(self.tokens - self.rows, self.tokens)).any(axis=0))
        return self.tokens if not self.rows else int(self.tokens - self.rows + (gaps[-1] + 1 if len(gaps) else 0))

    def positions(self, tokens: int) -> np.ndarray:
        """The token that each row is, of a text that has grown to `tokens`: (kv heads, rows)."""
        later = np.arange(self.tokens, tokens)
        return np.concatenate([self.at, np.broadcast_to(later, (len(self.at), len(later)))], axis=1)

    def cropped(self, tokens: int) -> Evicted:
        """What is left where the text is cut back to `tokens`, at `whole_from` or behind it."""
        gone = max(self.tokens - tokens, 0)
        return Evicted(self.tokens - gone, self.at[:, : self.rows - gone])
