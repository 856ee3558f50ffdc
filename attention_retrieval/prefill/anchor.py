"""AnchorAttention: the columns whose logit comes within `theta` of what a query finds nearby.

    near     the sinks, the window before a block, and the block itself
    a_i      the anchor of row i: its largest near logit (`max`), or the log of the sum of exp of all its logits (`sum`)
    q_B      the mean query of `block` rows B, q_B . k_j its logit for row j (logits have the scaling in them)
    read     near, and j where q_B . k_j >= mean_{i in B} a_i - theta, for any B of a step and any head of a kv group

A step is `step` blocks, whose columns are gathered once. `theta` is in units of the natural exponent: by `max`, what is
left out weighs under e^-theta of the heaviest near key; by `sum`, under e^-theta of the whole. Choosing costs a
`block`th of full attention's products, and is linear in the text; the rest is what was chosen.

The paper's are `max`, theta 12, blocks of 128, steps of 16. Heads of small models are diffuse, and 12 leaves them seven
columns of ten (SmolLM2 at 6,144 tokens); short steps and `sum` read less for the same mass. Here the anchor's mean is
over every eighth row of a block, columns are a kv head's, not a query head's, and by `sum` the far part of the sum is
that of the mean query. (Zhang et al., "AnchorAttention: Difference-Aware Sparse Attention with Stripe Granularity",
EMNLP 2025, arXiv 2505.23520)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.prefill import Block, Prefill

if TYPE_CHECKING:
    import torch

EVERY = 8
"""One row of so many has its anchor computed."""


class AnchorPrefill(Prefill, name="anchor"):
    """Near rows, and columns within `theta` of the anchor: as many as there are, by head and by text."""

    theta: PositiveFloat = 12
    """How far below the anchor a column may lie, in units of the natural exponent."""

    anchor: Literal["max", "sum"] = "max"
    """What a column is held against: the largest near logit, or the log of the sum of all."""

    block: PositiveInt = 128
    """Rows whose mean query looks for columns."""

    step: PositiveInt = 16
    """Blocks that share their columns."""

    window: NonNegativeInt = 128
    """Rows before a step that are always read."""

    @property
    def rows(self) -> int:
        """Of a step."""
        return self.block * self.step

    def columns(self, block: Block) -> Columns:
        """Near rows, and each kv head's own far ones."""
        low = max(block.start - self.window, 0)
        sinks = min(block.sinks, low)
        near = np.concatenate([np.arange(sinks), np.arange(low, block.start)])
        if sinks == low:
            return Columns([near])
        pooled = self.pooled(block.queries)
        far = (pooled @ block.keys[:, sinks:low].transpose(1, 2)).float()
        kept = (far >= self.anchors(block, near, far) - self.theta).any(dim=1).cpu().numpy()
        return Columns([np.concatenate([near[:sinks], np.flatnonzero(mine) + sinks, near[sinks:]]) for mine in kept])

    def pooled(self, queries: torch.Tensor) -> torch.Tensor:
        """The mean query of each block of rows, (kv heads, group * blocks, d); the last may have fewer rows."""
        import torch

        parts = [part.mean(dim=2) for part in queries.split(self.block, dim=2)]
        return torch.stack(parts, dim=2).flatten(1, 2)

    def anchors(self, block: Block, near: np.ndarray, far: torch.Tensor) -> torch.Tensor:
        """The mean anchor of each block of rows, (kv heads, group * blocks, 1); `far` are its mean query's logits."""
        import torch

        parts = [part[:, :, ::EVERY] for part in block.queries.split(self.block, dim=2)]
        queries, lengths = torch.cat(parts, dim=2), [part.shape[2] for part in parts]
        rows = np.array([n for n in range(block.start, block.stop) if (n - block.start) % self.block % EVERY == 0])
        ids = np.concatenate([near, np.arange(block.start, block.stop)])
        keys = block.keys[:, torch.from_numpy(ids).to(block.keys.device)]
        logits = torch.matmul(queries, keys[:, None].transpose(2, 3)).float()
        later = torch.from_numpy(ids > rows[:, None]).to(logits.device)
        logits.masked_fill_(later, -torch.inf)
        each = logits.amax(dim=3) if self.anchor == "max" else logits.logsumexp(dim=3)
        means = [part.mean(dim=2) for part in each.split(lengths, dim=2)]
        anchors = torch.stack(means, dim=2).flatten(1, 2)[..., None]
        return anchors if self.anchor == "max" else torch.logaddexp(anchors, far.logsumexp(dim=2, keepdim=True))
