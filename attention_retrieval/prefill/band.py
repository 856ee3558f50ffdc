"""A band: a token reads the sinks and the last tokens, so that a prompt is read in time linear in its length.

    token i sees j    where j < sinks or i - window < j <= i

What StreamingLLM does while a prompt is read, and, without sinks, Longformer's sliding window. Tokens are told apart
one by one, so pieces of a prompt are read as the whole is.
(Xiao et al., "Efficient Streaming Language Models with Attention Sinks", 2023, arXiv 2309.17453)
"""

from __future__ import annotations

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.prefill import Block, Prefill


class BandPrefill(Prefill, name="band"):
    """Sinks, and a window that moves along."""

    window: PositiveInt = 1024
    """The last tokens that a token reads, itself among them."""

    def columns(self, block: Block) -> Columns:
        """Sinks + window at most, for all heads, and which of them a token's own window holds."""
        low = max(block.start - self.window + 1, 0)
        ids = np.concatenate([np.arange(min(block.sinks, low)), np.arange(low, block.start)])
        mine = np.arange(block.start, block.stop)
        far, own = ((rows > mine[:, None] - self.window) | (rows < block.sinks) for rows in (ids, mine))
        return Columns([ids], [far], own=own)
