"""H-Net on sentences: the routing rule with an encoder and a router that were trained, on texts nobody has marked.

Of centred sentence vectors e' (as in `fovea.segmenters.hnet_rule`), with learned w of sum 1, a, b, W_q and W_k,

    left_i = a + sum_d w_d e'_{i-d},  right_i = b + sum_d w_d e'_{i+1+d}
    p_i = (1 - cos(W_q left_i, W_k right_i)) / 2

and a topic ends at the peaks of p over 1/2. The weights come of a whole dynamic-chunking network over sentences
(router, straight-through, network over chunks, moving average, decoder: `fovea.segmenters.training.sentence_network`),
which had to predict what a text goes on to say, in chunks of a given size on average. Its encoder and router are used
here.

S. Hwang, B. Wang, A. Gu, "Dynamic chunking for end-to-end hierarchical sequence modeling" (2025), there over bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.rag.placed import NameOrPath
from fovea.segmenters.learned import LearnedSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units

APART = 3
"""Units that boundaries keep apart, if possible, where their number is known."""


class HNetSentenceSegmenter(LearnedSegmenter, name="hnet_sentence"):
    """Cuts where what was said and what comes oppose each other; texts under eight units stay whole."""

    weights: NameOrPath = "hnet_sentence"

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The p of each gap: float32 `(gaps,)`. O(units * dim^2)."""
        import numpy as np

        from fovea.segmenters.hnet_rule import FEWEST, blocks, centred
        from fovea.segmenters.routing import opposition

        learned = {key: np.asarray(value, np.float32) for key, value in self.trained.arrays.items()}
        vectors = centred(self.vectors(units, encoder), "document")
        parts = [
            opposition(
                (left + learned["shift_back"]) @ learned["query"], (right + learned["shift_ahead"]) @ learned["key"]
            )
            for left, right in blocks(vectors, learned["weights"])
        ]
        p = np.concatenate(parts, dtype=np.float32)
        return p if len(units) >= FEWEST else p / 2

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """Peaks over one half, or the best ones where their number is known."""
        from fovea.segmenters.decode import best, peaks

        return peaks(scores, 0.5) if count is None else best(scores, count, apart=APART)
