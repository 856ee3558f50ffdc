"""Correction: what stands for the tokens that a search did not return.

    bias = correction.bias(rows, seed=0, layer=3, head=1)            # belongs into the Keys that the engine indexes
    index = engine.build(Keys(rows, start, stop, bias), queries)
    corrected = correction.over(index.keys, values, queries, seed=0)
    out, lse = corrected.attend(q, index.search(q, k + correction.more))

    index.keys.bias = correction.bias(more_rows, seed=0, layer=3, head=1)
    index.insert(stop)
    corrected.insert(index.keys)

Attention over the k best tokens alone forgets all others, however many they are: where a thousand weak tokens agree
against a strong one, it takes the strong one for the answer. A correction puts weights on the tokens found, or
pseudo-tokens beside them, so that the result is near attention over all tokens of the index. Where everything was
found, it is that exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from fovea.attention_retrieval.index.engine import NO_BIAS, Found, Keys
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.component import Component


class Corrected(ABC):
    """A correction's state over one head."""

    scanned: int = 0
    """Vectors of full width that `attend` reads beside the values of what was found: pseudo-tokens, rows."""
    bytes: int = 0
    """Bytes of them."""

    @abstractmethod
    def attend(self, q: np.ndarray, found: Found) -> Partial:
        """Attention of q (queries, d) over all rows of the index, by way of the k + `more` that were found."""

    @abstractmethod
    def insert(self, keys: Keys) -> None:
        """Take in the rows up to `keys.stop`, whose values have come; the bias is as long by now."""

    def state(self) -> dict[str, np.ndarray]:
        """Everything besides keys and values, as arrays."""
        return {}

    @property
    def nbytes(self) -> int:
        """Bytes of the correction itself."""
        return sum(array.nbytes for array in self.state().values())


class Correction(Component, kind="correction"):
    """Makes the state of a head. Built-ins live in `attention_retrieval/corrections/`, one file each."""

    more: ClassVar[int] = 0
    """Rows that a search must bring beyond those that are attended to."""
    needs_queries: ClassVar[bool] = False
    """Whether `over` learns from the prefill's queries."""

    def bias(self, rows: int, *, seed: int, layer: int, head: int) -> np.ndarray:
        """What an index adds to the logits of the first `rows` rows; more rows leave those before as they are."""
        return NO_BIAS

    @abstractmethod
    def over(self, keys: Keys, values: Rows, queries: np.ndarray | None = None, *, seed: int = 0) -> Corrected:
        """The state over the rows that `keys` tells, with their values. The same arguments make the same state.

        `queries` (n, d) are the prefill's, as for `Engine.build`.
        """

    def restore(self, keys: Keys, values: Rows, state: Mapping[str, np.ndarray]) -> Corrected:
        """The correction that gave `state`, over the same rows; arrays may be read-only."""
        return self.over(keys, values)
