"""What compiled code is told of rows: where they lie, and how to read them.

Row `i` of a head is row `n % 4096` of slab `n // 4096` with `n = i - first` (`slabs.py`), unless it is before `first`
or from `coded` on: those are plain, one behind the other (`vectors.py`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Stored(NamedTuple):
    """The rows of one head as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """Where the rows of each slab begin, (slabs,) uint64."""
    scales: np.ndarray
    """Where the pairs (low, scale) of each slab begin, (slabs,) uint64; empty for fp32 and bf16."""
    like: np.ndarray
    """An empty array of the stored type: it tells how to read a number."""
    d: int
    bits: int
    """Of a code; 0 for fp32 and bf16."""
    blocked: bool
    """Whether a pair is of a channel, or of a token."""
    plain: np.uint64
    """Where the rows before `first` and from `coded` on lie, as `PLAIN` says."""
    first: int
    coded: int


class Table(NamedTuple):
    """The rows of all heads as compiled code sees them; good until rows are appended."""

    addresses: np.ndarray
    """(heads, slabs) uint64."""
    scales: np.ndarray
    """(heads, slabs) uint64; no slabs for fp32 and bf16."""
    like: np.ndarray
    d: int
    bits: int
    blocked: bool
    plain: np.ndarray
    """(heads,) uint64."""
    first: int
    coded: np.ndarray
    """(heads,) int64."""
