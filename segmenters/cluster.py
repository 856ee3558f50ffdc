"""Clusters of neighbouring sentences: of all ways to divide a text, the one whose segments are most alike inside.

    maximise  sum over segments, sum over pairs of sentences i < j in it, of  cos(e_i, e_j) - mean cosine of the text

with at most `longest` sentences a segment: an exact dynamic programme. The objective is that of Chroma's
ClusterSemanticChunker: B. Smith and A. Troynikov, "Evaluating chunking strategies for retrieval" (2024), there over
pieces of 50 tokens, here over whole sentences.

Unlike rules that look at one gap, it sees whole segments; but where topics are longer than `longest` it must cut them,
and it knows no text without boundaries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fovea.segmenters.gaps import GapSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units


class ClusterSegmenter(GapSegmenter, name="cluster"):
    """Cuts between the clusters of an optimal division. O(units * longest) in time and memory."""

    longest: Annotated[int, Field(ge=2)] = 16
    """Sentences in a segment at most."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """How much a boundary at the gap gains or costs against the best division without or with it: float `(gaps,)`.

        m the difference of the two sums, (1 +- m / (1 + m)) / 2: over 0.5 at the boundaries of the best division.
        """
        import numpy as np

        from fovea.segmenters.decode import STEP
        from fovea.segmenters.partition import divide, worths
        from fovea.segmenters.products import Vectors

        best = divide(worths(Vectors(units.vectors(encoder)), self.longest), self._may(units))
        margin = np.abs(best.margins)
        sure = np.maximum(margin / (1 + margin), 2 * STEP) / 2
        return np.where(best.boundaries, 0.5 + sure, 0.5 - sure)

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """The boundaries of the best division; where their number is given, those whose loss would cost most, or that
        cost least beside them, each taken by itself: bool `(gaps,)`.
        """
        from fovea.segmenters.decode import best

        return scores > 0.5 if count is None else best(scores, count)
