"""H-Net's routing rule on sentence vectors, without training: cut where the blocks on either side point apart.

From unit vectors e_1..e_n the mean is taken away, since sentences of one text all point much the same way, and the rest
scaled to unit length. Around gap i stand two blocks whose units count less the further they are from it, like the
moving average by which the network smooths its chunks, with r = w / (w + 1):

    left_i = sum_d r^d e'_{i-d},  right_i = sum_d r^d e'_{i+1+d},  p_i = (1 - cos(left_i, right_i)) / 2

That is the router of a dynamic-chunking network whose W_q and W_k are the identity. A topic ends where p_i > 1/2, that
is where the cosine is negative, and p_i is no lower than before and higher than after. The rule applied once more, to
the means of the chunks found, gives the sections that those chunks belong to: boundaries of level 2 are some of the
boundaries of level 1.

It tells texts that are spliced of several subjects apart: pages in a log, documents joined, streams. An article on one
subject has no such joins; cut at any gap, it is worse off than left whole (Pk 41 against 39 on 231 Wikipedia
articles), because taking the mean away leaves what is special in each sentence. There let only paragraph ends be
boundaries, as happens by itself where a text has paragraphs, or use a method that was trained on sections.

S. Hwang, B. Wang, A. Gu, "Dynamic chunking for end-to-end hierarchical sequence modeling" (2025), for the rule.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, PositiveInt

from fovea.segmenters.gaps import GapSegmenter, Probability

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units

Centre = Literal["document", "running", "none"]
FEWEST = 8
"""Units under which the mean is mostly the units themselves, and what is left of them noise."""
RUNNING = 60
"""Units on either side of which a running mean is taken."""
REACH = 4
"""Windows of which a block is made; what lies further away would count for less than a thirtieth."""
STRETCH = 1024
"""Gaps whose blocks are in memory at a time."""
NOTHING = 1e-4
"""Length under which a centred vector is rounding error."""


class HNetRuleSegmenter(GapSegmenter, name="hnet_rule"):
    """Cuts where centred blocks of sentences point to opposite sides; texts under eight units stay whole."""

    window: PositiveInt = 3
    """How far away the units of a block are on average."""
    threshold: Probability = 0.5
    """The p over which a topic ends."""
    centre: Centre = "document"
    """Which mean is taken away: the whole text's, that of 60 units on either side (for streams), or none."""
    target: Annotated[float, Field(gt=1)] | None = None
    """Units a segment should hold on average: then the best places are taken, whatever their p."""
    level: Literal[1, 2] = 1
    """1 for chunks, 2 for sections made of them, some two or three chunks each."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The p of each gap: float32 `(gaps,)`. Of level 2, gaps that are no boundary of it score `threshold` at most.

        O(units * dim), each unit encoded once.
        """
        import numpy as np

        vectors = units.vectors(encoder)
        p = self._rule(vectors, FEWEST)
        if self.level == 1:
            return p
        fine = super()._decide(p, units, None)
        found = p * self.threshold
        if fine.any():
            coarse = self._rule(means(vectors, fine), FEWEST // 2)  # Means of chunks are steadier than units.
            found[fine] = np.where(self.choose(coarse, None), coarse, np.minimum(coarse, self.threshold))
        return found

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """Peaks over the threshold; where their number is known the best, if possible a window apart."""
        from fovea.segmenters.decode import best, peaks

        if count is None:
            return peaks(scores, self.threshold)
        return best(scores, count, apart=self.window)

    def _decide(self, scores: np.ndarray, units: Units, count: int | None) -> np.ndarray:
        if count is None and self.target is not None:
            count = max(0, round(len(units) / self.target) - 1)
        return super()._decide(scores, units, count)

    def _rule(self, vectors: np.ndarray, fewest: int) -> np.ndarray:
        p = rule(vectors, self.window, self.centre)
        return p if len(vectors) >= fewest else p * self.threshold


def rule(vectors: np.ndarray, window: int, centre: Centre) -> np.ndarray:
    """p of each gap between `(units, dim)` vectors: float32 `(gaps,)`; one half where a block has no direction."""
    import numpy as np

    from fovea.segmenters.routing import opposition

    weights = (window / (window + 1)) ** np.arange(REACH * window)
    parts = [opposition(left, right) for left, right in blocks(centred(vectors, centre), weights)]
    return np.concatenate([np.zeros(0, np.float32), *parts], dtype=np.float32)


def blocks(vectors: np.ndarray, weights: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Weighted sums of the vectors before and after each gap, the nearest by `weights[0]`, those beyond the text zero:
    twice `(gaps, dim)`, in stretches of gaps, so that memory is bounded.
    """
    import numpy as np

    reach, gaps = len(weights), len(vectors) - 1
    for first in range(0, gaps, STRETCH):
        size = min(STRETCH, gaps - first)
        near = vectors[max(first + 1 - reach, 0) : first + size + reach]
        near = np.pad(near, [(max(reach - first - 1, 0), reach), (0, 0)])
        left, right = np.zeros((2, size, vectors.shape[1]))
        for distance, weight in enumerate(weights.tolist()):
            left += weight * near[reach - 1 - distance :][:size]
            right += weight * near[reach + distance :][:size]
        yield left, right


def centred(vectors: np.ndarray, centre: Centre) -> np.ndarray:
    """Vectors less their mean, scaled to unit length; those that are the mean become zero. Float64 `(units, dim)`."""
    import numpy as np

    rest = np.asarray(vectors, np.float64)
    if centre == "document":
        rest = rest - rest.mean(axis=0)
    elif centre == "running":
        at = np.arange(len(rest))
        first, stop = np.maximum(at - RUNNING, 0), np.minimum(at + RUNNING + 1, len(rest))
        rest = rest - (sums(rest)[stop] - sums(rest)[first]) / (stop - first)[:, None]
    lengths = np.linalg.norm(rest, axis=1, keepdims=True)
    return np.where(lengths > NOTHING, rest / np.maximum(lengths, NOTHING), 0.0)


def means(vectors: np.ndarray, boundaries: np.ndarray) -> np.ndarray:
    """The mean vector of each segment: `(segments, dim)`."""
    import numpy as np

    ends = np.flatnonzero(np.append(boundaries, True)) + 1
    return np.diff(sums(vectors)[np.append(0, ends)], axis=0) / np.diff(ends, prepend=0)[:, None]


def sums(vectors: np.ndarray) -> np.ndarray:
    """Running sums from zero: float64 `(units + 1, dim)`."""
    import numpy as np

    return np.concatenate([np.zeros((1, vectors.shape[1])), np.cumsum(vectors, axis=0, dtype=np.float64)])
