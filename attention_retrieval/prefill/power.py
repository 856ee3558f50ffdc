"""PowerAttention: blocks at distances that are powers of two, so that any token reaches any other in log n layers.

    x = block of the query - block of the key
    read where x is 0 or a power of two, or x < local, or the key is in block 0 or a sink

A block reads log2 of what is before it. The models of the paper were trained to pass on what they read so; others lose
what lies between, but in `full_layers` (of the paper's hybrid, two of every seven), so this is a control.
(L. Chen et al., "PowerAttention: Exponentially scaling of receptive fields for effective sparse attention", 2025, arXiv
2503.03588)
"""

from __future__ import annotations

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.key_blocks import BlockSize, rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill


class PowerAttention(Prefill, name="power"):
    """The first block, the last ones, and those at distances 1, 2, 4, 8, ..."""

    block: BlockSize = 256
    """Tokens of a block."""

    local: PositiveInt = 5
    """The last blocks that are all read, the query's own among them."""

    full_layers: tuple[NonNegativeInt, ...] = ()
    """Layers, from 0, that read everything."""

    @property
    def rows(self) -> int:
        """A block: its tokens read the same."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """The same rows for every head; O(log tokens) blocks."""
        if block.layer in self.full_layers:
            return Columns([np.arange(block.start)])
        return Columns([rows_of(self.blocks(block.start // self.block), self.block, block.sinks, block.start)])

    def blocks(self, own: int) -> np.ndarray:
        """The blocks that block `own` reads, ascending."""
        distance = own - np.arange(own + 1)
        return np.flatnonzero((distance & (distance - 1) == 0) | (distance < self.local) | (distance == own))
