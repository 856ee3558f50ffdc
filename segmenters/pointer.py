"""Pointer: where a segment ends is chosen by attention over the places where it might.

J. Li, A. Sun and S. Joty, "SegBot: a generic neural text segmentation model with pointer network" (2018), after
O. Vinyals et al., "Pointer networks" (2015). Ours reads frozen sentence vectors, encodes them by gated dilated
convolutions instead of a recurrent net (so a text of any length is read in parallel blocks), points from every unit
rather than from the segments found so far, and sums over all ways to segment instead of deciding from left to right:
one wrong end does not move all that follow. `segmenters/pointer_network.py` holds the formulas. Trained on article
sections, on meetings, and on spliced texts, it tells spliced from single-subject text by itself: the first choice where
its encoder is at hand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.rag.placed import NameOrPath
from fovea.segmenters.gaps import Probability
from fovea.segmenters.learned import LearnedSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units


class PointerSegmenter(LearnedSegmenter, name="pointer"):
    """Cuts where the pointer network's score is over the threshold.

    The network's probabilities mean one thing at the ends of paragraphs and another where none are marked. The weights
    bring the one that served best in either case, and scores are shifted so that it becomes a half.
    """

    weights: NameOrPath = "pointer"
    """The name of shipped weights, or the path of one's own."""
    threshold: Probability = 0.5
    """The least score of a boundary."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """How surely a topic ends at each gap: float64 `(gaps,)`."""
        from fovea.segmenters.decode import shifted
        from fovea.segmenters.pointer_network import scores

        where = "paragraphs" if self.at_paragraphs(units) else "all"
        found = scores(self.vectors(units, encoder), units.breaks, self.trained.arrays)
        return shifted(found, self.trained.about["thresholds"][where])

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """Gaps over the threshold; the `count` highest where the number is given."""
        from fovea.segmenters.decode import best

        if count is not None:
            return best(scores, count)
        return scores > self.threshold
