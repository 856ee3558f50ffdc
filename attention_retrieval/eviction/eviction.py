"""Eviction: what of a prompt is kept once it is read.

    kept = eviction.kept(keys, values, queries)     # when the first token after the prompt is decoded

The prompt is read as it would be without; then each kv head keeps its own rows, in the order of the text, and all
others are gone for good: memory and time fall, and a question that comes later finds only what was kept. Rows that
remain stand at the positions of the text.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component


class Eviction(Component, kind="eviction"):
    """Which rows are kept. Built-ins live in `attention_retrieval/eviction/`, one file each."""

    @property
    def queries(self) -> int:
        """How many of the prompt's last queries `kept` looks at."""
        return 0

    @abstractmethod
    def kept(self, keys: Vectors, values: Vectors, queries: np.ndarray | None) -> np.ndarray | None:
        """The rows that stay, (kv heads, rows) int64, ascending, as many of each head; None where all do.

        `queries` (kv heads, group, n, d), times the scaling, are those of the last n tokens of the prompt, which end
        with the last row; None where `queries` asks for none. The same arguments keep the same rows.
        """
