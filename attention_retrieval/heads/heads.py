"""Heads: how far each kv head looks while an answer is written.

    windows, middle = heads.reach(layer, keys, values, queries, read)       # when the index of a layer is made

A head whose window holds all tokens reads them as the settings' selection does; another attends to the sinks, to its
window and to the rows of `middle`, and is given no index. (DuoAttention calls them retrieval heads and streaming heads:
Xiao et al., 2024, arXiv 2410.10819.) Most policies are of a model, whatever the text, and say no more than `windows`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component


class Reach(NamedTuple):
    """What each kv head of a layer reads of a text."""

    windows: np.ndarray
    """The last tokens, (kv heads,) int64, 1 or more; as many as there are is all of them."""
    middle: np.ndarray
    """Rows that a head reads besides, (kv heads, n) int64, ascending, and then -1, which is nobody."""


class Heads(Component, kind="heads"):
    """Which heads read how far. Built-ins live in `attention_retrieval/heads/`, one file each."""

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Raise ConfigError where the policy is of a model of another shape."""
        return

    @property
    def wants_table(self) -> str:
        """The kind of a model's table whose scores it takes (`fovea heads MODEL --kind ...`); "" for none."""
        return ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> Heads:
        """The same, with the rows of that table: for each (layers, query heads)."""
        return self

    @property
    def compensate(self) -> bool:
        """Whether the rows that a head does not read stand in its softmax as one: the mean key and the mean value,
        counted as many times as they are."""
        return False

    @property
    def queries(self) -> int:
        """How many of the prompt's last queries `reach` looks at."""
        return 0

    @abstractmethod
    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """The last tokens that each kv head of a layer reads of a text of `tokens`, (kv heads,) int64, 1 or more.

        `tokens` or more is all of them. A longer text never makes a window smaller, nor a head that streams read all.
        """

    def reach(
        self, layer: int, keys: Vectors, values: Vectors, queries: np.ndarray | None = None, read: int = 0
    ) -> Reach:
        """What each kv head reads of this text; without looking at it where `queries` is 0.

        `queries` (kv heads, group, n, d), times the scaling, are those of the rows from `read` - n to `read`, with
        which the prompt ends; None where they are not known, or none are asked for.
        """
        return Reach(self.windows(layer, keys.heads, len(keys)), np.empty((keys.heads, 0), np.int64))

    def budgets(self, layer: int, kv_heads: int, total: int, tokens: int) -> np.ndarray:
        """How many of a text's `tokens` rows each kv head may keep where the layer keeps `total`, (kv heads,) int64.

        One each, and the rest in proportion to the windows, none more than `tokens`: what a head has no use for goes to
        the others. They sum to `total`, or to the nearest of kv_heads and kv_heads * tokens.
        """
        windows = np.minimum(self.windows(layer, kv_heads, tokens), tokens)
        return 1 + shared(total - kv_heads, windows, tokens - 1)


def shared(total: int, weights: np.ndarray, most: int) -> np.ndarray:
    """`total` in whole parts as `weights` (n,), all above 0, none above `most`: (n,) int64, summing to it if they can.

    Parts that would be larger are `most`, and the others share the rest; fractions are carried to the next part.
    """
    total = min(max(total, 0), most * len(weights))
    parts, below = np.full(len(weights), float(most)), np.ones(len(weights), bool)
    while below.any():
        rest = total - most * int((~below).sum())
        parts[below] = rest * weights[below] / weights[below].sum()
        if not (over := parts > most).any():
            break
        below &= ~over
        parts[over] = most
    stops = np.rint(np.cumsum(parts) - 1e-9).astype(np.int64)
    stops[-1:] = total
    return np.diff(stops, prepend=0)
