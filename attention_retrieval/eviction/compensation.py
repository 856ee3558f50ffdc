"""RazorAttention's compensation token: one row stands for all that are dropped.

    kept = what `of` keeps; without it the first `sinks` rows and the last max(`window`, `share` of all)
    dropped rows count in the softmax as n times exp(q . k), with value v: their mean key and value, n of them

`cache/compensation.py` has the formula. In the paper only heads that do not retrieve drop rows: `heads: {use: razor}`
does that; here every head does, what remains by any policy. (Tang et al., 2024, arXiv 2407.15891)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.attention_retrieval.eviction.eviction import Eviction, Shares
from fovea.attention_retrieval.eviction.streaming import ends
from fovea.attention_retrieval.vectors import Vectors


class CompensationToken(Eviction, name="compensation"):
    """What another eviction drops counts as one row."""

    of: Eviction | None = None
    """What drops rows: `{use: snapkv, keep: 2048}`; null for sinks and a window."""

    sinks: NonNegativeInt = 4
    """The first tokens, which stay, where `of` is null."""

    window: PositiveInt = 4000
    """The last tokens, which stay, where `of` is null."""

    share: Annotated[float, Field(ge=0, le=1)] = 0.2
    """The share of the tokens that stays at least as a window, where `of` is null."""

    @property
    def queries(self) -> int:
        """Those of `of`."""
        return self.of.queries if self.of else 0

    @property
    def again(self) -> bool:
        """As `of` does; a window streams."""
        return self.of.again if self.of else True

    @property
    def compensates(self) -> bool:
        """It does."""
        return True

    @property
    def wants_heads(self) -> bool:
        """As `of` does."""
        return self.of is not None and self.of.wants_heads

    def budgets(self, policy: Shares) -> np.ndarray | None:
        """Those of `of`."""
        return self.of.budgets(policy) if self.of else None

    def kept(
        self, keys: Vectors, values: Vectors, queries: np.ndarray | None, budgets: np.ndarray | None = None
    ) -> Sequence[np.ndarray] | None:
        """What `of` keeps."""
        if self.of:
            return self.of.kept(keys, values, queries, budgets)
        return ends(keys.lengths, self.sinks, max(self.window, round(self.share * len(keys))))
