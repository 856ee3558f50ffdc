"""MoA: every head has a span of its own, which grows with the text by a rule of its own.

    span_h(N) = alpha_h + beta_h * N        at least `least`, at most N; N is the whole text when its index is made

Plans are chosen for a model: `fovea train heads moa` profiles what each head loses by a span and chooses rules
(`probes/spans.py`), and the paper's authors publish some, as JSON: `{"alphas": [[...]], "betas": [[...]]}`, a row a
layer, a number a query head. Alphas may be negative. They give every query head keys of its own; here a kv head looks
as far as the furthest of its group. Spans are not rounded to blocks of 64, in which only a GPU's kernel reads: a span
grows with every token, and no head that streams comes to read everything. The first tokens are the settings' `sinks`
(64 in the release).
(T. Fu et al., "MoA: mixture of sparse attention for automatic large language model compression", 2024, arXiv
2406.14909)
"""

from __future__ import annotations

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.heads.scores import check_shape
from fovea.attention_retrieval.moa_plan import PlanOrPath


class MoA(Heads, name="moa"):
    """Spans by a plan."""

    plan: PlanOrPath
    """`{alphas: [[...]], betas: [[...]]}`, or the path of a JSON file of it, or of its folder."""

    least: PositiveInt = 64
    """No head reads fewer of the last tokens."""

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """A plan must be that of a model of this shape."""
        check_shape(self.plan.alphas, layers, query_heads, "fovea train heads moa")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """The widest span of each group."""
        alphas, betas = (np.array(each[layer]) for each in (self.plan.alphas, self.plan.betas))
        spans = (alphas + betas * tokens).reshape(kv_heads, -1).max(axis=1)
        return np.clip(np.maximum(spans, self.least), 1, max(tokens, 1)).astype(np.int64)
