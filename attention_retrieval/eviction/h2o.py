"""H2O: the rows that have got most attention so far, the heavy hitters, and the last ones.

    score_i = sum over queries j >= i of softmax(q_j . k)_i, the mean over the group
    kept    = the `keep` - `window` best rows before the window, and the window

The paper sums over all queries, and drops a row at every token. Here a prompt is read whole, and the sum is over its
last `seen` tokens, whose queries the cache keeps; where they are all of the prompt's, it is the paper's sum for one.
Rows of an answer stay. A control: a sum over all rows favours early ones, which more queries see.
(Zhang et al., "H2O: heavy-hitter oracle for efficient generative inference of large language models", 2023, arXiv
2306.14048)
"""

from __future__ import annotations

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.eviction.budgeted import Budgeted
from fovea.attention_retrieval.eviction.snapkv import votes

PIECE = 128
"""Queries that are scored together: (group, 128, rows) float32."""


class H2O(Budgeted, name="h2o"):
    """Heavy hitters and a window, half of `keep` each."""

    window: PositiveInt = 1024
    """The prompt's last tokens, which stay: in the paper as many as heavy hitters."""

    seen: PositiveInt = Field(default=1024)
    """The prompt's last queries whose attention is summed: (query heads, seen, d) float32 are kept while it is read."""

    @property
    def queries(self) -> int:
        """Those whose attention is summed."""
        return self.seen

    def score(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """O(seen * rows * d), a piece of the queries after another."""
        rows, n = len(keys), queries.shape[1]
        total = np.zeros(rows)
        for start in range(0, n, PIECE):
            stop = min(start + PIECE, n)
            end = rows - n + stop
            total[:end] += votes(queries[:, start:stop], keys[:end], own=True)
        return total[: rows - min(self.window, n)]
