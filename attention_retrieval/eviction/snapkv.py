"""SnapKV: a prompt's last tokens show which of its tokens the answer will want.

    A       = softmax over all rows of q_w . k      for the last `window` queries, causal among themselves
    score_i = sum over these of A_i, the mean over the group, then the largest of `kernel` neighbours
    kept    = the `keep` - `window` best rows before them, and the last `window` rows

Pooled, so that a word comes with its surroundings. Nothing is dropped of a prompt of at most `keep` tokens. The release
repeats keys for every query head and lets each keep its own; here a kv head keeps what its group wants on average. A
question that is asked after the text was evicted is another matter: it was not among the last queries.
(Li et al., "SnapKV: LLM knows what you are looking for before generation", 2024, arXiv 2404.14469)
"""

from __future__ import annotations

import numpy as np
from pydantic import PositiveInt, model_validator

from fovea.attention_retrieval.eviction.eviction import Eviction
from fovea.attention_retrieval.vectors import Vectors


class SnapKV(Eviction, name="snapkv"):
    """The rows that a prompt's last queries attend to."""

    keep: PositiveInt = 2048
    """Rows that stay, the window among them."""

    window: PositiveInt = 32
    """The prompt's last tokens, which vote, and stay."""

    kernel: PositiveInt = 7
    """Rows that share the best score among them; odd."""

    @model_validator(mode="after")
    def _fits(self) -> SnapKV:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, so that a row stands in its middle, got {self.kernel}")
        if self.keep <= self.window:
            raise ValueError(f"keep ({self.keep}) must be more than window ({self.window})")
        return self

    @property
    def queries(self) -> int:
        """The window."""
        return self.window

    def kept(self, keys: Vectors, values: Vectors, queries: np.ndarray | None) -> np.ndarray | None:
        """O(window * rows * d) a head."""
        rows, heads = len(keys), keys.heads
        if rows <= self.keep or queries is None:
            return None
        window = queries.shape[2]
        before = rows - window
        ids = np.empty((heads, self.keep), np.int64)
        for head in range(heads):
            score = pooled(votes(queries[head], keys.head(head).block(0, rows)), self.kernel)
            best = np.argpartition(-score, self.keep - window - 1)[: self.keep - window]
            ids[head] = np.concatenate([np.sort(best), np.arange(before, rows)])
        return ids


def votes(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """The attention that each row before the queries gets of them, (rows - n,); queries (group, n, d) are the last."""
    n, rows = queries.shape[1], len(keys)
    logits = queries @ keys.T
    later = np.arange(rows) > np.arange(rows - n, rows)[:, None]
    logits[:, later] = -np.inf
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights[..., : rows - n].sum(axis=1).mean(axis=0))


def pooled(score: np.ndarray, kernel: int) -> np.ndarray:
    """The largest of `kernel` neighbours, fewer at both ends."""
    wide = np.pad(score, kernel // 2, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(wide, kernel).max(axis=1)
