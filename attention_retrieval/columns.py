"""What a block of a prompt reads of the rows before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch


class Columns(NamedTuple):
    """What a block reads of the rows before it: lists of one array for all heads, a kv head, or a query head.

    Query heads of a kv head read together where their lists hold the very same arrays.
    """

    ids: Sequence[np.ndarray]
    """Rows before the block's start, ascending, each once, (columns,) int64; heads may name more or fewer."""
    seen: Sequence[np.ndarray] | None = None
    """Whether a token sees a column, (tokens, columns) bool, as many as `ids`; None where all see all."""
    bias: Sequence[np.ndarray] | None = None
    """What is added to the logit of a column, (columns,) float32, as many as `ids`: the log of how many rows a sampled
    one stands for."""
    means: Sequence[Means] | None = None
    """What stands for rows that are not named, as many as `ids`; every token sees it."""
    own: np.ndarray | None = None
    """Whether a token sees one of the block's own, (tokens, tokens) bool, itself always; None for every one that is
    not later. Later ones are hidden whatever stands here."""


class Means(NamedTuple):
    """Rows that stand for others, one for `counts` of them: read as so many rows that are alike."""

    keys: torch.Tensor
    """(means, d)"""
    values: torch.Tensor
    """(means, d)"""
    counts: int | np.ndarray
    """Rows that each stands for: one number, or (means,)."""
    width: Width | None = None
    """How they lie around it; None for rows that are alike."""


class Width(NamedTuple):
    """How rows lie around their means: r q' A q / 2 is added to the logit of a mean, r B q to its value."""

    spread: torch.Tensor
    """r, (means,)"""
    around: torch.Tensor
    """A, (d, d)"""
    cross: torch.Tensor
    """B, (d, d)"""
