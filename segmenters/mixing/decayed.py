"""Linear attention in blocks: what `lightning` and `based` have in common.

    S_t = r S_{t-1} + f(k_t) v_t^T,  o_t = f(q_t)^T S_t

Of a block of T tokens, with S of before it,

    O = [f(Q) f(K)^T . D] V + diag(r^(i+1)) f(Q) S,  D_ij = r^(i-j) for j <= i
    S <- r^T S + (diag(r^(T-1-j)) f(K))^T V

so that exponents add up to the true distance over any cuts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 64
"""Tokens of a block: O(T BLOCK d + T d^2)."""
Scores = Callable[[Tensor, Tensor], Tensor]
"""f(q) . f(k) of all pairs, which may cost less than f does."""


def scan(
    q: Tensor, k: Tensor, v: Tensor, memory: Tensor, rates: Tensor, scores: Scores, feature: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """o `(B, H, T, d_v)` and S `(B, H, f, d_v)` after the tokens, from S of before them; `rates` are r, `(H,)`."""
    made, logs = [], rates.log()[:, None]
    for one, other, what in zip(*(each.split(BLOCK, dim=2) for each in (q, k, v))):
        size = one.shape[2]
        at = torch.arange(size, device=q.device)
        gaps = at[:, None] - at
        decay = (logs[..., None] * gaps.clamp(min=0)).exp() * (gaps >= 0)
        reach = (logs * (at + 1)).exp()[..., None]
        made.append((scores(one, other) * decay) @ what + reach * (feature(one) @ memory))
        left = (logs * (size - 1 - at)).exp()[..., None]
        memory = (logs * size).exp()[..., None] * memory + (feature(other) * left).transpose(-1, -2) @ what
    return torch.cat(made, dim=2), memory
