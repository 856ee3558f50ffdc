"""Softmax pooling of every prefix by queries that never change, in one pass: `Pool` is a point of a scan.

    m = max(m_1, m_2),  u = u_1 e^(m_1 - m) + u_2 e^(m_2 - m),  w likewise;  the pooled value is w / u

Both sides are scaled to the new maximum: cumulative maxima without that give other numbers wherever the maximum grows.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Pool(NamedTuple):
    """Of some tokens: the highest score, and the sums of weights and of weighted values, both scaled by it."""

    m: Tensor
    u: Tensor
    w: Tensor
    """`(..., d)`, the others `(...)`."""

    @property
    def value(self) -> Tensor:
        """The mean of the values, weighted by softmax of the scores."""
        return self.w / self.u[..., None]


def merge(one: Pool, other: Pool) -> Pool:
    """Of the tokens of both; associative."""
    m = torch.maximum(one.m, other.m)
    left, right = (one.m - m).exp(), (other.m - m).exp()
    u = one.u * left + other.u * right
    return Pool(m, u, one.w * left[..., None] + other.w * right[..., None])


def prefixes(scores: Tensor, values: Tensor, past: Pool | None = None) -> Pool:
    """Pools of tokens 1..t for every t, of scores `(B, H, T)` and values `(B, H, T, d)`, behind `past`, `(B, H)`.

    O(T log T), each doubling in parallel.
    """
    found, tokens, step = Pool(scores, torch.ones_like(scores), values), scores.shape[2], 1
    while step < tokens:
        joined = merge(Pool(*(each[:, :, :-step] for each in found)), Pool(*(each[:, :, step:] for each in found)))
        found = Pool(*(torch.cat([each[:, :, :step], more], dim=2) for each, more in zip(found, joined)))
        step *= 2
    return found if past is None else merge(Pool(*(each[:, :, None] for each in past)), found)


def end(pools: Pool) -> Pool:
    """That of the last prefix."""
    return Pool(*(each[:, :, -1] for each in pools))
