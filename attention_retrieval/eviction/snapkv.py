"""SnapKV: a prompt's last tokens show which of its tokens the answer will want.

    A       = softmax over all rows of q_w . k      for the last `window` queries, causal among themselves
    score_i = sum over these of A_i, the mean over the group, then the largest of `kernel` neighbours
    kept    = the `keep` - `window` best rows before them, and the last `window` rows

Pooled, so that a word comes with its surroundings. Nothing is dropped of a prompt of at most `keep` tokens. The release
repeats keys for every query head and lets each keep its own; here a kv head keeps what its group wants on average.

Where the question ends the prompt, it votes. A question that is asked after the text was evicted does not: read the
text alone, call `RetrievalCache.evict()`, and what its own last tokens wanted is kept, whatever is asked then.
(Li et al., "SnapKV: LLM knows what you are looking for before generation", 2024, arXiv 2404.14469)
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from fovea.attention_retrieval.eviction.budgeted import Budgeted


class SnapKV(Budgeted, name="snapkv"):
    """The rows that a prompt's last queries attend to."""

    kernel: Annotated[int, Field(ge=1, le=1023)] = 7
    """Rows that share the best score among them; odd."""

    @model_validator(mode="after")
    def _odd(self) -> SnapKV:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that a row stands in its middle, got {self.kernel}")
        return self

    @property
    def queries(self) -> int:
        """The window."""
        return self.window

    def score(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """O(window * rows * d)."""
        return pooled(votes(queries, keys), self.kernel)


def votes(queries: np.ndarray, keys: np.ndarray, *, own: bool = False) -> np.ndarray:
    """The attention that each row gets of the queries (group, n, d), which are of the last rows: the sum over them,
    causal among themselves, the mean over the group. Of the rows before them, (rows - n,), with `own` of all.
    """
    n, rows = queries.shape[1], len(keys)
    logits = queries @ keys.T
    later = np.arange(rows) > np.arange(rows - n, rows)[:, None]
    logits[:, later] = -np.inf
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights[..., : rows if own else rows - n].sum(axis=1).mean(axis=0))


def pooled(score: np.ndarray, kernel: int) -> np.ndarray:
    """The largest of `kernel` neighbours, fewer at both ends."""
    wide = np.pad(score, kernel // 2, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(wide, kernel).max(axis=1)
