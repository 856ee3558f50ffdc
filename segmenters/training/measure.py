"""How far a segmenter is from the truth while it is trained, and which threshold brings it nearest.

    Pk = the share of places i at which "i and i + k lie in one segment" differs between truth and guess
    k  = half the mean length of the true segments, at least 2

(D. Beeferman, A. Berger and J. Lafferty, "Statistical models for text segmentation", 1999.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from segmenters.gaps import GapSegmenter
    from segmenters.sectioned import Sectioned
    from segmenters.units import Units

THRESHOLDS = np.round(np.arange(0.05, 0.96, 0.05), 2)


class Best(NamedTuple):
    """A Pk, and the threshold that gives it."""

    pk: float
    threshold: float


def pk(truth: np.ndarray, guess: np.ndarray) -> float:
    """Pk of two bool `(gaps,)`, in [0, 1], 0 where they agree; a text no longer than k counts as right or wrong."""
    n = len(truth) + 1
    k = max(2, round(n / (int(truth.sum()) + 1) / 2))
    if n <= k:
        return float(not np.array_equal(truth, guess))
    ends = [np.concatenate([[0], np.cumsum(marks)]) for marks in (truth, guess)]
    apart = [found[k:] != found[:-k] for found in ends]
    return float((apart[0] != apart[1]).mean())


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """How often one of the true scores higher than one of the others; ties count by their order."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    ones = truth > 0
    return float((ranks[ones].mean() - (ones.sum() - 1) / 2) / (~ones).sum())


Scored = tuple[np.ndarray, np.ndarray, "Units | None"]
"""Scores of gaps, the truth, and the units where their paragraphs matter: without them every gap may be a boundary."""


def best_threshold(groups: Sequence[Sequence[Scored]], segmenter_at: Callable[[float], GapSegmenter]) -> Best:
    """The threshold of nineteen with the lowest Pk, as the mean over groups of texts of the mean over a group's texts;
    `segmenter_at(threshold)` makes the segmenter that chooses.
    """
    found = []
    for threshold in THRESHOLDS:
        segmenter = segmenter_at(float(threshold))
        means = [np.mean([pk(truth, _choose(segmenter, s, units)) for s, truth, units in group]) for group in groups]
        found.append(Best(float(np.mean(means)), float(threshold)))
    return min(found)


def _choose(segmenter: GapSegmenter, scores: np.ndarray, units: Units | None) -> np.ndarray:
    return segmenter.choose(scores, None) if units is None else segmenter._decide(scores, units, None)


def table(segmenter: GapSegmenter, texts: Sequence[Sectioned], encoder: Encoder) -> list[dict[str, str | float]]:
    """Mean Pk of `segmenter` over the texts of each corpus and split, beside that of no boundary at all."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for text in texts:
        if len(text.units) < 2:
            continue
        guess = segmenter.boundaries(text.units, encoder)
        pair = pk(text.boundaries, guess), pk(text.boundaries, np.zeros_like(guess))
        found.setdefault((text.corpus, text.split), []).append(pair)
    return [
        {"corpus": corpus, "split": split, "texts": len(pairs), "pk": mean[0], "pk of no boundary": mean[1]}
        for (corpus, split), pairs in sorted(found.items())
        if (mean := np.mean(pairs, axis=0).tolist())
    ]
