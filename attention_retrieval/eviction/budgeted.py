"""Evictions that keep so many rows of a head: those with the highest scores before a window, and the window.

What a head keeps may be said by the policy of heads: a head that looks far keeps more, or all.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from fovea.attention_retrieval.eviction.eviction import Eviction, Shares
from fovea.attention_retrieval.vectors import Vectors


class Budgeted(Eviction):
    """What is left to an eviction is the `score` of each row."""

    keep: PositiveInt | Annotated[float, Field(gt=0, lt=1)] = 2048
    """Rows of a head that stay, the window among them; below 1, that share of those there are."""

    budget: Literal["even", "heads", "windows"] = "even"
    """`even`: each head keeps `keep` rows; `heads`: so many on average, shared out by the policy of `heads`; `windows`:
    a head that streams keeps as many as its window, the best and not the last ones, another keeps all."""

    window: PositiveInt = 32
    """The prompt's last tokens, which stay."""

    @model_validator(mode="after")
    def _fits(self) -> Budgeted:
        if 1 <= self.keep <= self.window:
            raise ValueError(f"keep ({self.keep}) must be more than window ({self.window})")
        return self

    @abstractmethod
    def score(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """How much each row before the window is wanted: (rows - window,), of one head's keys (rows, d).

        `queries` (group, n, d), times the scaling, are those of the last n rows.
        """

    @property
    def wants_heads(self) -> bool:
        """Unless `budget` is `even`."""
        return self.budget != "even"

    def budgets(self, policy: Shares) -> np.ndarray | None:
        """By `budget`."""
        if self.budget == "even":
            return None
        if self.budget == "windows":
            return policy.windows
        return policy.shared(self._rows(policy.tokens) * len(policy.windows))

    def _rows(self, tokens: int) -> int:
        """What `keep` means of a text of so many."""
        return int(self.keep) if self.keep >= 1 else max(round(self.keep * tokens), 1)

    def kept(
        self, keys: Vectors, values: Vectors, queries: np.ndarray | None, budgets: np.ndarray | None = None
    ) -> Sequence[np.ndarray] | None:
        """O(queries * rows * d) a head that drops some."""
        most = np.full(keys.heads, self._rows(len(keys))) if budgets is None else budgets
        if queries is None or (keys.lengths <= most).all():
            return None
        return [self._kept(queries[head], keys.head(head).block, int(keys.lengths[head]), int(most[head]))
                for head in range(keys.heads)]  # fmt: skip

    def _kept(self, queries: np.ndarray, block: Callable[[int, int], np.ndarray], rows: int, keep: int) -> np.ndarray:
        window = min(self.window, queries.shape[1])
        if rows <= keep or keep <= window:
            return np.arange(max(rows - keep, 0), rows)
        score = self.score(queries, block(0, rows))
        best = np.argpartition(-score, keep - window - 1)[: keep - window]
        return np.concatenate([np.sort(best), np.arange(rows - window, rows)])
