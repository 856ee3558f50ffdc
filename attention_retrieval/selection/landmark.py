"""Landmarks: a learned key stands for each block, where the model's own queries find it.

    l_b   = R(m_b) L [max k, min k, mean k]      over the keys of block b before RoPE; m_b its middle
    score = max_g softmax_b(q_g . l_b)           q_g the queries of a kv head's group, as they are
    read    the best blocks, `top_k` rows of them, and always the last

In the paper a landmark is a token after every 50th, and the whole model is trained with it. Here the model stays as it
is and reads the text as it is: L (3 d to d), of each kv head, is learned so that the softmax is the attention to the
rows of each block (`probes/gates.py`). Rows that are read stand where they stood; the paper gives blocks other places.
(A. Mohtashami, M. Jaggi, "Landmark attention: random-access infinite context length for transformers", 2023, arXiv
2305.16300: 2 to 5 blocks of each head and token, by its own softmax)
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.selection.gated_blocks import GatedBlocksSelected, GatedBlocksSelection
from fovea.attention_retrieval.vectors import Vectors


class LandmarkSelection(GatedBlocksSelection, name="landmark"):
    """The blocks whose learned keys a kv head's queries attend to most. O(rows d) once, O(blocks d) a step."""

    def empty(self, keys: Vectors, values: Vectors, start: int) -> LandmarkSelected:
        """With the landmarks of its layer."""
        return LandmarkSelected(self, keys, values, start)


class LandmarkSelected(GatedBlocksSelected):
    """The keys of blocks, (kv heads, blocks, d)."""

    def __init__(self, settings: LandmarkSelection, keys: Vectors, values: Vectors, start: int) -> None:
        self.landmark = settings.array("landmark", keys)
        super().__init__(settings, keys, values, start, keys.d)

    def keyed(self, pooled: np.ndarray, first: np.ndarray) -> np.ndarray:
        """l_b of blocks."""
        return self.settings.rotation.moved(pooled @ self.landmark, first + (self.settings.size - 1) / 2)

    def scores(self, q: np.ndarray) -> np.ndarray:
        """(kv heads, blocks)."""
        logits = q @ self.block_keys.transpose(0, 2, 1)
        weights = np.exp(logits - logits.max(axis=2, keepdims=True))
        return np.asarray((weights / weights.sum(axis=2, keepdims=True)).max(axis=1))
