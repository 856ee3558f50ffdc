"""SoftmaxLift: a lottery among the tokens, held once, makes top-k a fair sample."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from fovea.attention_retrieval.corrections.correction import Corrected, Correction
from fovea.attention_retrieval.index.engine import NO_BIAS, Found, Keys
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.vectors import Rows

BLOCK = 4096
"""Rows that are drawn together."""


class LiftCorrection(Correction, name="lift"):
    """Unbiased weights for an index of perturbed keys; k tokens are attended to, and nothing else is read.

        u_i ~ Uniform(0, 1], once a row        bias_i = -log u_i        search the k + 1 largest of s_i + bias_i
        tau = the (k + 1)-th of them           weight_i = max(exp(s_i), exp(tau))      for the first k

    This is priority sampling: the sums of weights and of weighted values are right on average over draws, whatever the
    logits s. The error falls with sqrt(k). A row keeps its u for good, so steps that follow each other err alike.
    ("Attention via black-box vector search", 2026; Duffield, Lund and Thorup, 2007)
    """

    more: ClassVar[int] = 1

    def bias(self, rows: int, *, seed: int, layer: int, head: int) -> np.ndarray:
        """-log u, (rows or a few more,) float32, of a counter-based generator: the same again for the same numbers."""
        blocks = range(-(-rows // BLOCK))
        drawn = [np.random.Generator(np.random.Philox(seed, counter=(0, layer, head, n))) for n in blocks]
        return np.concatenate([NO_BIAS, *(-np.log1p(-one.random(BLOCK)) for one in drawn)]).astype(np.float32)

    def over(self, keys: Keys, values: Rows, queries: np.ndarray | None = None, *, seed: int = 0) -> LiftCorrected:
        """Nothing but the bias, which is in the keys."""
        return LiftCorrected(keys, values)


class LiftCorrected(Corrected):
    """The keys with their bias."""

    def __init__(self, keys: Keys, values: Rows) -> None:
        self.keys, self.values = keys, values

    def insert(self, keys: Keys) -> None:
        """The bias of the new rows is in their keys."""
        self.keys = keys

    def attend(self, q: np.ndarray, found: Found) -> Partial:
        """The last of the found only tells tau."""
        from fovea.attention_retrieval.kernels.attend import attend_ids

        ids, tau = np.ascontiguousarray(found.ids[:, :-1]), found.logits[:, -1:]
        logits = np.maximum(found.logits[:, :-1] - self.keys.bias[ids], tau)
        logits[ids < 0] = -np.inf
        return Partial(*attend_ids(self.values.stored, ids, logits))
