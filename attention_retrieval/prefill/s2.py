"""S2-Attention: each head reads its own share of a text's blocks, the heads together all of them.

    block b of keys is read by kv head h where  (b + h * step) mod stride = 0,   step = max(1, stride // kv heads),
    or where it is among the last `local` blocks, the query's own among them; sinks always

b counts from the start of the text, so a block that a head skips is skipped by all later tokens too. The models of the
paper were trained so; others lose what a head does not see, but in `full_layers` (phi-3-small: every second).
(X. Lin et al., "S2-Attention: Hardware-aware context sharding among attention heads", 2024, arXiv 2407.17678; step and
grouping as released with phi-3-small)
"""

from __future__ import annotations

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.key_blocks import BlockSize, rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill


class S2Attention(Prefill, name="s2"):
    """The last blocks, and every `stride`-th before them, from another one for each head."""

    block: BlockSize = 64
    """Tokens of a block."""

    local: PositiveInt = 16
    """The last blocks that are all read, the query's own among them."""

    stride: PositiveInt = 8
    """Of so many blocks further back, a head reads one."""

    full_layers: tuple[NonNegativeInt, ...] = ()
    """Layers, from 0, that read everything."""

    @property
    def rows(self) -> int:
        """A block: its tokens read the same."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """Of each kv head other rows."""
        if block.layer in self.full_layers:
            return Columns([np.arange(block.start)])
        own, heads = block.start // self.block, len(block.keys)
        blocks = [self.blocks(own, head, heads) for head in range(heads)]
        return Columns([rows_of(each, self.block, block.sinks, block.start) for each in blocks])

    def blocks(self, own: int, head: int, heads: int) -> np.ndarray:
        """The blocks that block `own` reads in a kv head, ascending."""
        each = np.arange(own + 1)
        mine = (each + head * max(1, self.stride // heads)) % self.stride == 0
        return np.flatnonzero(mine | (own - each < self.local))
