"""C99: split where the similarity of sentences, ranked among its neighbours, gets densest inside the segments.

How similar two sentences are says little by itself, so each cell of the matrix of cosines is replaced by the share of
the 11 x 11 cells around it that are lower. Segments are squares on the diagonal of that matrix; the text is split, and
split again, where the inside density

    D = sum_k (sum of the ranks in square k) / sum_k (area of square k)

grows most, up to the last split whose growth, smoothed, is over mean + c * sd of all the growth (c 1.2). F. Y. Y. Choi,
"Advances in domain independent linear text segmentation" (2000).

Time and memory grow with the square of the units, so a text of more than `WINDOW` is read in windows: each is split by
itself, what lies up to its last boundary in the third quarter is kept, and the next window begins there. This is linear
in the text, and the matrix never has more than `WINDOW` rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveFloat

from fovea.segmenters.gaps import GapSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.products import Rows
    from fovea.segmenters.units import Units

WINDOW = 400
"""Units whose similarities are held at a time."""


class C99Segmenter(GapSegmenter, name="c99"):
    """Divisive clustering of ranked sentence similarities. O(units * WINDOW) in time, O(WINDOW^2) in memory."""

    similarity: Literal["words", "embeddings"] = "words"
    """What sentences are compared by: counts of English stems, or the encoder's vectors."""
    deviations: PositiveFloat = 1.2
    """c of the stopping rule: the more, the fewer boundaries."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The order of the splits, from 1 for the first down to 0, and 0.5 where the rule stops: float `(gaps,)`.

        Gaps that may be boundaries are split before the others.
        """
        from fovea.segmenters.products import Vectors
        from fovea.segmenters.words import counts

        words = self.similarity == "words"
        rows: Rows = counts(units.texts).of_unit_length() if words else Vectors(units.vectors(encoder))
        return scores(rows, self._may(units), self.deviations)

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """The first splits: `count` of them, or as many as the rule keeps: bool `(gaps,)`."""
        from fovea.segmenters.decode import best

        return scores > 0.5 if count is None else best(scores, count)


def scores(rows: Rows, first: np.ndarray, deviations: float) -> np.ndarray:
    """Scores of all gaps, window by window: float `(gaps,)`; `first` says which gaps are split before the others."""
    import numpy as np

    found, start, n = np.zeros(len(rows) - 1), 0, len(rows)
    while start < n - 1:
        stop = min(start + WINDOW, n)
        inside = ordered(rows.gram(start, stop), first[start : stop - 1], deviations)
        keep = len(inside)
        if stop < n:
            third = inside[WINDOW // 2 : 3 * WINDOW // 4]
            sure = np.flatnonzero(third > 0.5)
            keep = WINDOW // 2 + int(sure[-1] if len(sure) else len(third) - 1) + 1
        found[start : start + keep] = inside[:keep]
        start += keep
    return found


def ordered(similarity: np.ndarray, first: np.ndarray, deviations: float) -> np.ndarray:
    """Scores of the gaps of one window by the order of their splits: float `(gaps,)`."""
    import numpy as np

    from fovea.segmenters.density import divide, ranks, worthwhile

    splits, total = divide(ranks(similarity), first), len(first)
    kept, place = worthwhile(splits.gains[: first.sum()], deviations), np.arange(total)
    found = np.zeros(total)
    found[splits.gaps] = np.where(
        place < kept, 1 - place / (2 * max(kept, 1)), (total - place) / (2 * max(total - kept, 1))
    )
    return found
