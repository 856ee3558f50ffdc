"""SeerAttention-R: gates say which blocks a decoded token wants, learned from where the model's own attention lies.

    k_b   = R(m_b) K [max k, min k, mean k]      over the keys of block b before RoPE; m_b its middle
    q     = R(t) Q [q_1 ... q_G]                 the queries of a kv head's group before RoPE, times the scaling
    score = q . k_b                              read: the best blocks, `top_k` rows of them, and always the last

K (3 d to e) and Q (G d to e) are of each kv head, learned so that the softmax of scores is the model's attention pooled
by blocks (`probes/gates.py`). R turns e numbers by the e / 2 slowest of the model's own frequencies. As in the release
a kv head chooses for its group, keys of blocks are kept, and that of the last one, which fills up, is made anew; the
prompt is read in full. (Y. Gao et al., "SeerAttention-R: sparse attention adaptation for long reasoning", 2025, arXiv
2506.08889; "SeerAttention", 2024, arXiv 2410.13276)
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.selection.gated_blocks import GatedBlocksSelected, GatedBlocksSelection
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.errors import ConfigError


class SeerSelection(GatedBlocksSelection, name="seer"):
    """The blocks that learned gates choose, of each kv head. O(rows d) once, O(blocks e) a step."""

    def empty(self, keys: Vectors, values: Vectors, start: int) -> SeerSelected:
        """With the gates of its layer."""
        return SeerSelected(self, keys, values, start)


class SeerSelected(GatedBlocksSelected):
    """Gates of a layer, and the keys of its blocks, (kv heads, blocks, e)."""

    def __init__(self, settings: SeerSelection, keys: Vectors, values: Vectors, start: int) -> None:
        self.query, self.key = settings.array("query", keys), settings.array("key", keys)
        self.turned = Rotation(np.array(settings.trained.about["gate_turns"], np.float64), False)
        super().__init__(settings, keys, values, start, self.key.shape[2])

    def keyed(self, pooled: np.ndarray, first: np.ndarray) -> np.ndarray:
        """k_b of blocks."""
        return self.turned.moved(pooled @ self.key, first + (self.settings.size - 1) / 2)

    def scores(self, q: np.ndarray) -> np.ndarray:
        """(kv heads, blocks)."""
        if q.shape[1] * q.shape[2] != self.query.shape[1]:
            group = self.query.shape[1] // q.shape[2]
            what = f"the gates {self.settings.gates!r} are of {group} query heads a kv head, and there are {q.shape[1]}"
            raise ConfigError(what, where="select.gates")
        asked = self.settings.rotation.moved(q, np.full(q.shape[1], -self.now)).reshape(len(q), 1, -1)
        asked = self.turned.moved(asked @ self.query, np.array([self.now]))
        return np.asarray((asked @ self.block_keys.transpose(0, 2, 1))[:, 0])
