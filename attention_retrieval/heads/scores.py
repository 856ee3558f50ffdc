"""Scores of a model's heads, a row a layer: a number for each head, those of a kv head, and the best of all layers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.rag.errors import ConfigError

Scores = Sequence[Sequence[float]]


def check_shape(scores: Scores | str, layers: int, heads: int, command: str) -> None:
    """Raise ConfigError unless there are `layers` rows of `heads` numbers; `command` prints what would be right."""
    if isinstance(scores, str):
        what = "scores: auto takes those of the model's table, which a pipeline's generator reads"
        raise ConfigError(what, where="heads", fix=f"give the scores that `{command} --json` prints")
    got = [len(row) for row in scores]
    if got != [heads] * layers:
        shape = f"{len(got)} layers of {' or '.join(str(n) for n in sorted(set(got)))} heads"
        what = f"the scores of heads are of {shape}, the model has {layers} of {heads}"
        raise ConfigError(what, where="heads", fix=f"`{command}` makes those of a model")


def by_group(scores: Scores, kv_heads: int) -> np.ndarray:
    """The best of each kv head's group of query heads, (layers, kv heads)."""
    table = np.array(scores, np.float64)
    return np.asarray(table.reshape(len(table), kv_heads, -1).max(axis=2))


def best(scores: np.ndarray, count: int) -> np.ndarray:
    """Which of `scores` are the `count` largest, bool of the same shape; of equals, those that come first."""
    chosen = np.zeros(scores.size, bool)
    chosen[np.argsort(-scores, axis=None, kind="stable")[:count]] = True
    return chosen.reshape(scores.shape)


def all_or(window: int, reads: np.ndarray, tokens: int) -> np.ndarray:
    """All `tokens` where `reads` (kv heads,), else the last `window`, (kv heads,) int64."""
    tokens = max(tokens, 1)
    return np.where(reads, tokens, min(window, tokens)).astype(np.int64)
