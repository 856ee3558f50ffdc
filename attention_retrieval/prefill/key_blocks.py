"""Blocks of keys as rows: what policies that choose by blocks name."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from fovea.attention_retrieval.prefill.prefill import BLOCK

BlockSize = Annotated[int, Field(ge=1, le=BLOCK)]
"""Tokens of a prompt that read the same."""


def rows_of(blocks: np.ndarray, size: int, sinks: int, stop: int) -> np.ndarray:
    """The rows before `stop` that are among the first `sinks` or in one of `blocks` of `size`, ascending, each once."""
    inside = np.zeros(-(-stop // size), bool)
    inside[blocks[blocks < len(inside)]] = True
    rows = np.repeat(inside, min(size, max(stop, 1)))[:stop]
    rows[:sinks] = True
    return np.flatnonzero(rows)
