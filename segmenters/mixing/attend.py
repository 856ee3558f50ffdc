"""Softmax attention among heads, and what mixers make of it: heads, positions, and who sees whom.

Everywhere B is the batch, T the tokens of a piece, n those kept from before it, H heads, d the width of a head.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fovea.rag.errors import ConfigError


def linear(width: int, out: int) -> nn.Linear:
    """A map without a bias."""
    return nn.Linear(width, out, bias=False)


def head_width(width: int, heads: int) -> int:
    """Channels of each of so many heads. Raises ConfigError where they are no even number."""
    if width % (2 * heads):
        fits = [str(n) for n in range(1, 65) if width % (2 * n) == 0]
        raise ConfigError(f"a width of {width} has no {heads} heads of even width", where="mixer", allowed=fits)
    return width // heads


def grouped(heads: int, few: int, what: str) -> int:
    """How many query heads share each of `few`. Raises ConfigError where it comes out uneven."""
    if heads % few:
        fits = [str(n) for n in range(1, heads + 1) if heads % n == 0]
        raise ConfigError(f"{heads} heads do not share {few} evenly", where=f"mixer.{what}", allowed=fits)
    return heads // few


def split(x: Tensor, d: int) -> Tensor:
    """`(B, T, H d)` to `(B, H, T, d)`."""
    return x.unflatten(-1, (-1, d)).transpose(1, 2)


def join(x: Tensor) -> Tensor:
    """`(B, H, T, d)` to `(B, T, H d)`."""
    return x.transpose(1, 2).flatten(2)


def rotate(x: Tensor, positions: Tensor) -> Tensor:
    """Rotary positions: pairs of channels of `(B, H, T, d)` turned by angles that grow with `positions`, `(T,)`."""
    half = x.shape[-1] // 2
    speeds = 10_000 ** (-torch.arange(half, device=x.device) / half)
    angles = positions[:, None] * speeds
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * angles.cos() - second * angles.sin(), first * angles.sin() + second * angles.cos()], -1)


def places(seen: int, x: Tensor) -> Tensor:
    """Positions of the tokens of a piece `(B, T, ...)` after `seen` others."""
    return torch.arange(seen, seen + x.shape[1], device=x.device)


def attend(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None = None) -> Tensor:
    """softmax(q k / sqrt d) v, `(B, H, T, d_v)`; a head of k and v serves H / H_k query heads in a row.

    `allowed` says what each query may see, `(..., T, keys)`; left out, the keys are the queries' own tokens and those
    before, the last of both the same: key j is seen by query i where j <= i + keys - T.
    """
    k, v = (each.repeat_interleave(q.shape[1] // each.shape[1], dim=1) for each in (k, v))
    if allowed is None and q.shape[2] == k.shape[2]:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if allowed is None:
        allowed = before(q.shape[2], k.shape[2], q)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)


def before(queries: int, keys: int, like: Tensor) -> Tensor:
    """Which of `keys` tokens are not after each of the last `queries` of them: bool `(queries, keys)`."""
    return torch.ones(queries, keys, dtype=torch.bool, device=like.device).tril(keys - queries)


def grown(kept: Tensor | None, new: Tensor) -> Tensor:
    """Rows `(B, H, T, d)` behind those that are kept."""
    return new if kept is None else torch.cat([kept, new], dim=2)


def last(x: Tensor, count: int) -> Tensor:
    """The last `count` rows of `(B, H, T, d)`, or all."""
    return x[:, :, max(0, x.shape[2] - count) :]
