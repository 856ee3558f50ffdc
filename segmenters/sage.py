"""SAGE: a small network reads the text on both sides of a gap and says whether it is one topic.

    x1, x2 = the mean vectors of the `block` units before and after the gap, of unit length
    S = sigmoid(w2 . relu(W1 [x1, x2, x1 - x2, x1 * x2] + b1) + b2)        1: one topic
    cut where S < threshold and S is lower than around it

J. Zhang, G. Li and J. Su, "SAGE: A framework of precise retrieval for RAG", ICDE 2025, its segmentation model. What the
network learns to call one topic is decided by the negatives of its training (`fovea.segmenters.training.sage`).

The paper packs whole sentences into coarse blocks first and cuts only inside them. Here all gaps are scored at once, in
memory that does not grow with the text, and where a chunk would be too large the packer cuts at its lowest S: better
places than the ends of blocks. The coarse pass is `coarse_tokens`, for who wants segments of a bounded size without a
packer, or the paper's own procedure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from fovea.rag.placed import NameOrPath
from fovea.segmenters.gaps import Probability
from fovea.segmenters.learned import LearnedSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units

BATCH = 1024
"""Gaps scored at a time, so that a long text needs little memory beside its vectors."""


class SageSegmenter(LearnedSegmenter, name="sage"):
    """Cuts where SAGE's network sees two topics. O(units * dim * hidden).

    Made for texts put together of several subjects. Within an article on one subject it finds sections where paragraphs
    are marked, and few without.
    """

    weights: NameOrPath = "sage"
    """The name of shipped weights, or the path of one's own."""
    threshold: Probability | None = None
    """Cut where S is lower. Left out, a half where any gap may be a boundary; where only ends of paragraphs may, what
    was best for the weights on texts they were not trained on."""
    block: PositiveInt | None = None
    """Units on either side that are read; left out, as many as in training."""
    coarse_tokens: PositiveInt | None = None
    """Read and cut in coarse blocks of at most so many tokens, made of what may not be divided (paragraphs where only
    their ends may be boundaries, else units). No segment is then larger, except one such part."""

    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """1 - S, its odds shifted so that S = threshold scores a half: float32 `(gaps,)`; ends of coarse blocks that
        must be boundaries score 1.

        Raises ConfigError for another encoder than that of the weights, ModelError for weights that cannot be had.
        """
        import numpy as np

        vectors, block = self.vectors(units, encoder), self.block or int(self.trained.about["block"])
        arrays = {name: array.astype(np.float32) for name, array in self.trained.arrays.items()}
        threshold = self._threshold(units)
        if self.coarse_tokens is None:
            return change(same_topic(vectors, arrays, block), threshold)
        ends = self._coarse_ends(units, encoder)
        parts = [same_topic(part, arrays, block) for part in np.split(vectors, ends + 1)]
        across = np.concatenate(
            [np.zeros(0, np.float32), *(same_topic(vectors, arrays, block, e, e + 1) for e in ends)]
        )
        same = np.insert(np.concatenate(parts), ends - np.arange(len(ends)), across)
        return self._forced(change(same, threshold), ends, units, encoder)

    def _settled(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The scores: S was settled before the threshold, which may be near 0 or 1, moved them together."""
        return self.scores(units, encoder)

    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """Where S is under the threshold and lowest around; with `count` so many, those lowest around before others."""
        from fovea.segmenters.decode import best, peaks

        if count is not None:
            return best(scores + peaks(scores, -1), count)
        return peaks(scores, 0.5) | (scores >= 1)

    def _threshold(self, units: Units) -> float:
        if self.threshold is not None:
            return self.threshold
        found: Mapping[str, float] = self.trained.about["thresholds"]
        return found["paragraphs" if self.at_paragraphs(units) else "all"]

    def _coarse_ends(self, units: Units, encoder: Encoder) -> np.ndarray:
        """The gaps at which coarse blocks end: whole parts, one after the other, as long as they fit."""
        import numpy as np

        tokens, may = self._tokens(units, encoder), np.append(np.flatnonzero(self._may(units)), len(units) - 1)
        ends, start = [], 0
        for before, gap in zip(may.tolist(), may[1:].tolist()):
            if tokens[gap + 1] - tokens[start] > (self.coarse_tokens or 0):
                ends.append(before)
                start = before + 1
        return np.array(ends, np.int64)

    def _forced(self, scores: np.ndarray, ends: np.ndarray, units: Units, encoder: Encoder) -> np.ndarray:
        """The scores with 1 at each end of a coarse block that lies in a segment of more than `coarse_tokens`."""
        import numpy as np

        tokens = self._tokens(units, encoder)
        found = np.flatnonzero(self._decide(scores, units, None))
        stops = np.append(found, len(units) - 1)
        for end in ends.tolist():
            at = int(np.searchsorted(stops, end))
            start = stops[at - 1] + 1 if at else 0
            if stops[at] != end and tokens[stops[at] + 1] - tokens[start] > (self.coarse_tokens or 0):
                stops = np.insert(stops, at, end)
                scores[end] = 1
        return scores

    def _tokens(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Tokens before each unit, and in all: int `(units + 1,)`."""
        import numpy as np

        return np.cumsum([0, *(encoder.tokenizer.count(text) for text in units.texts)])


def change(same: np.ndarray, threshold: float) -> np.ndarray:
    """(1 - S) t / ((1 - S) t + S (1 - t)), S in whole steps: a half where S is the threshold t, and under 1. float32
    `(gaps,)`.
    """
    import numpy as np

    from fovea.segmenters.decode import settled, shifted

    return np.minimum(shifted(1 - settled(same), 1 - threshold), 1 - 1e-6).astype(np.float32)


def same_topic(
    vectors: np.ndarray, arrays: Mapping[str, np.ndarray], block: int, start: int = 0, stop: int | None = None
) -> np.ndarray:
    """S of the gaps `start` to `stop`: float32 `(gaps,)`; `vectors` are those of the units, `(units, dim)`.

    W1 [x1, x2, x1 - x2, x1 * x2] is computed as (A + C) x1 + (B - C) x2 + D (x1 * x2), for its parts A, B, C and D.
    """
    import numpy as np

    from fovea.segmenters.blocks import sides

    a, b, c, d = np.split(arrays["hidden.weight"].T, 4)
    stop = len(vectors) - 1 if stop is None else stop
    found = [np.zeros(0, np.float32)]
    for at in range(start, stop, BATCH):
        left, right = sides(vectors, block, at, min(at + BATCH, stop))
        hidden = left @ (a + c) + right @ (b - c) + (left * right) @ d + arrays["hidden.bias"]
        logit = np.maximum(hidden, 0) @ arrays["out.weight"][0] + arrays["out.bias"][0]
        found.append(1 / (1 + np.exp(-np.clip(logit, -30, 30))))
    return np.concatenate(found)
