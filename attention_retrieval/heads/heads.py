"""Heads: how far each kv head looks while an answer is written.

    windows = heads.windows(layer, kv_heads, tokens)       # (kv heads,)

A head whose window holds all tokens reads them as the settings' selection does; another attends to the sinks and to its
window alone, and is given no index. (DuoAttention calls them retrieval heads and streaming heads: Xiao et al., 2024,
arXiv 2410.10819.)
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fovea.rag.component import Component


class Heads(Component, kind="heads"):
    """Which heads read how far. Built-ins live in `attention_retrieval/heads/`, one file each."""

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Raise ConfigError where the policy is of a model of another shape."""
        return

    @property
    def wants_scores(self) -> bool:
        """Whether it takes scores that only a model's table knows."""
        return False

    def with_scores(self, scores: list[list[float]]) -> Heads:
        """The same, with how well each query head copies, a row a layer."""
        return self

    @abstractmethod
    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """The last tokens that each kv head of a layer reads of a text of `tokens`, (kv heads,) int64, 1 or more.

        `tokens` or more is all of them. A longer text never makes a window smaller, nor a head that streams read all.
        """
