"""Eviction: what of a prompt is kept once it is read.

    kept = eviction.kept(keys, values, queries, budgets)     # when the first token after the prompt is decoded

The prompt is read as it would be without; then each kv head keeps its own rows, in the order of the text, and all
others are gone for good: memory and time fall, and a question that comes later finds only what was kept. Rows that
remain stand at the positions of the text. How many rows a head keeps may differ: the heads that keep most are read by
the selection, the others read all that they hold.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component


class Shares(NamedTuple):
    """What the policy of heads says about the kv heads of a layer and a text."""

    tokens: int
    """How long the text is."""
    windows: np.ndarray
    """How far each head looks, (kv heads,): as many as there are tokens, or more, is the whole text."""
    shared: Callable[[int], np.ndarray]
    """Given rows of the layer, how many of them each head should have, (kv heads,)."""


class Eviction(Component, kind="eviction"):
    """Which rows are kept. Built-ins live in `attention_retrieval/eviction/`, one file each."""

    @property
    def queries(self) -> int:
        """How many of the prompt's last queries `kept` looks at."""
        return 0

    def budgets(self, policy: Shares) -> np.ndarray | None:
        """The rows that each head may keep; None where the policy of heads has no say."""
        return None

    @property
    def wants_heads(self) -> bool:
        """Whether the policy of heads says how many rows each head may keep; else heads that stream drop what has left
        their windows besides.
        """
        return False

    @property
    def again(self) -> bool:
        """Whether it goes on while an answer is written: then `kept` looks at no queries."""
        return False

    @property
    def compensates(self) -> bool:
        """Whether one row, of mean key and mean value, stands for those that are dropped, as many times as they are."""
        return False

    @abstractmethod
    def kept(
        self, keys: Vectors, values: Vectors, queries: np.ndarray | None, budgets: np.ndarray | None = None
    ) -> Sequence[np.ndarray] | None:
        """The rows of each kv head that stay, (rows,) int64 each, ascending; None where all do.

        Heads may hold different numbers of rows already: `keys.lengths`. `queries` (kv heads, group, n, d), times the
        scaling, are those of the last n tokens of the prompt, which end with the last row; None where `queries` asks
        for none. `budgets` (kv heads,) is what `budgets` gave, if there is a policy of heads. The same arguments keep
        the same rows.
        """
