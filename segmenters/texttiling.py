"""TextTiling: cut where the text before a gap and the text after it share least, next to what lies around.

Blocks of w units meet at each gap; s_i is the cosine of the two blocks at gap i. The depth of the valley at i is how
far the scores climb from it on both sides before they fall again:

    depth_i = (left peak - s_i) + (right peak - s_i)

Valleys are the local maxima of depth; boundaries are valleys with depth >= mean - sd / 2 (`liberal`: mean - sd), mean
and deviation taken over the valleys, since the slopes between them only say how long the topics are. M. A. Hearst,
"TextTiling: Segmenting text into multi-paragraph subtopic passages" (1997). Hearst's blocks are sequences of twenty
words; these are of sentences, which measures better, and of word counts or of an encoder's vectors.

How many valleys are deep enough follows from how depths are spread, whatever they mean: a text of one topic is cut too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import PositiveInt

from fovea.segmenters.gaps import GapSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.products import Rows
    from fovea.segmenters.units import Units

WINDOWS = {"words": 6, "embeddings": 3}
"""Vectors know synonyms, so that shorter blocks tell enough."""


class TextTilingSegmenter(GapSegmenter, name="texttiling"):
    """Cuts at the deep valleys of block similarity. Linear in the length of the text."""

    similarity: Literal["words", "embeddings"] = "words"
    """What blocks are compared by: counts of English stems, or the encoder's vectors of sentences."""
    window: PositiveInt | None = None
    """Units in a block. Left out, 6 for words and 3 for embeddings."""
    liberal: bool = False
    """Cut more: the threshold is a whole deviation under the mean."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Half the depth at each gap: float `(gaps,)` in [0, 1]."""
        import numpy as np

        from fovea.segmenters.decode import settled
        from fovea.segmenters.products import Vectors
        from fovea.segmenters.words import counts

        rows: Rows = counts(units.texts) if self.similarity == "words" else Vectors(units.vectors(encoder))
        found = depths(settled(block_cosines(rows, self.window or WINDOWS[self.similarity])))
        return np.clip(found / 2, 0, 1)

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """The deepest valleys where their number is given, else those deeper than the threshold: bool `(gaps,)`."""
        from fovea.segmenters.decode import best, peaks

        valleys = peaks(scores, 0)
        if count is not None:
            return best(scores + valleys, count)
        if not valleys.any():
            return valleys
        deep = scores[valleys]
        return valleys & (scores >= deep.mean() - deep.std() * (1 if self.liberal else 0.5))


def block_cosines(rows: Rows, window: int) -> np.ndarray:
    """Cosine of the sums of the `window` rows before and after each gap, fewer at the ends: float32 `(gaps,)`.

    0 where a block has no words. O(gaps * window^2) after the products of rows up to 2 * window apart.
    """
    import numpy as np

    n, w = len(rows), window
    products = np.pad(rows.band(2 * w), [(0, 0), (w, w)])
    own, across = np.zeros(n + w, np.float32), np.zeros(n, np.float32)
    for a in range(w):
        for b in range(w):
            # The block that begins i units into the padded text, with itself and with the block after it.
            own += products[abs(b - a), min(a, b) :][: n + w]
            across += products[w + b - a, a:][:n]
    lengths = np.sqrt(np.maximum(own[1:n] * own[1 + w :][: n - 1], 0))
    return np.divide(across[1:], lengths, out=np.zeros(n - 1, np.float32), where=lengths > 0)


def depths(similarity: np.ndarray) -> np.ndarray:
    """How far similarity climbs on both sides of each gap before it falls: float `(gaps,)`. O(gaps)."""
    left, right = _peaks_before(similarity), _peaks_before(similarity[::-1])[::-1]
    return (left - similarity) + (right - similarity)


def _peaks_before(values: np.ndarray) -> np.ndarray:
    """The value that climbing to the left from each place ends at: shape of `values`."""
    import numpy as np

    at = np.arange(len(values))
    falls = np.concatenate([[True], values[:-1] < values[1:]])[: len(values)]
    return values[np.maximum.accumulate(np.where(falls, at, 0))]
