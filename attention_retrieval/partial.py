"""Partial: attention over a part of the tokens, and how the parts become the whole.

    m = max(lse_a, lse_b)    w_a = exp(lse_a - m)    w_b = exp(lse_b - m)
    out = (w_a out_a + w_b out_b) / (w_a + w_b)      lse = m + log(w_a + w_b)

The parts must be disjoint, or a token counts twice. The largest lse is taken away first, so logits of +-200 are safe,
and a part without tokens (lse minus infinity) has no weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Partial(NamedTuple):
    """`out` (queries, d), and `lse` (queries,), the log of the sum of exp(logit)."""

    out: np.ndarray
    lse: np.ndarray


def merge(*parts: Partial) -> Partial:
    """Attention over all parts together."""
    lses = np.stack([part.lse for part in parts])
    most = lses.max(axis=0)
    weights = np.exp(lses - np.where(np.isneginf(most), 0, most))
    total = weights.sum(axis=0)
    safe = np.where(total > 0, total, 1)
    out = sum(part.out * (weight / safe)[..., None] for part, weight in zip(parts, weights))
    with np.errstate(divide="ignore"):
        return Partial(np.asarray(out, np.float32), (most + np.log(total)).astype(np.float32))
