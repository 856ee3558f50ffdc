"""BiFormer's bi-level routing at inference: regions by their mean keys, for the whole layer, then the tokens in them.

    affinity of region r = sum over query heads h of q_h . mean key of r of h's kv head
    read                 = every row of the top_k / size regions of the largest affinity, by all heads

As published: regions are compared by the layer's whole vectors, so that all heads read the same ones, and affinities
are no weights. BiFormer is a trained vision model, whose queries come by regions too, 49 of them of which 1 to 16 are
taken; a decoded token is a region of its own, and a text grows by regions of one `size`. (L. Zhu et al., "BiFormer:
vision transformer with bi-level routing attention", CVPR 2023, arXiv 2303.08810)
"""

from __future__ import annotations

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.selection.block_bounds import BlockBoundsSelection
from fovea.attention_retrieval.selection.blocks import Stands, best


class BilevelSelection(BlockBoundsSelection, name="bilevel"):
    """The regions that a layer's heads together want most."""

    size: PositiveInt = 64
    """Rows of a region."""

    represent: Stands = "mean"
    """What stands for a region: as of `block_bounds`."""

    def wanted(self, scores: np.ndarray) -> np.ndarray:
        """The same regions for every head."""
        together = best(scores.sum(axis=(0, 1))[None, None], max(self.top_k // self.size, 1))
        return np.broadcast_to(together, (len(scores), together.shape[1]))
