"""What trainings read of sectioned texts, and how they measure themselves on the development part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fovea.segmenters.gaps import LONGEST_PARAGRAPH
from fovea.segmenters.training.sampling import Example

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.segmenters.gaps import GapSegmenter
    from fovea.segmenters.sectioned import Sectioned

THRESHOLDS = tuple(t / 100 for t in range(5, 100, 5))


class Best(NamedTuple):
    """A Pk, and the threshold that gives it."""

    pk: float
    threshold: float


def examples(texts: Sequence[Sectioned], encoder: Encoder) -> list[Example]:
    """Each text with vectors of its units; texts of one unit have no gap and are left out."""
    found = [t for t in texts if len(t.units) > 1]
    return [
        Example(t.units.vectors(encoder), t.boundaries.astype(np.float32), t.units.breaks.astype(np.float32))
        for t in found
    ]


def kinds(texts: Sequence[Sectioned], encoder: Encoder) -> dict[str, list[Example]]:
    """Examples by the corpus they come from."""
    found: dict[str, list[Sectioned]] = {}
    for text in texts:
        found.setdefault(text.corpus, []).append(text)
    return {corpus: examples(group, encoder) for corpus, group in sorted(found.items())}


def offered(example: Example, scores: np.ndarray) -> np.ndarray:
    """The scores that a segmenter with `candidates: auto` chooses among: at paragraph ends, where there are some."""
    few = len(example.vectors) > LONGEST_PARAGRAPH * example.breaks.sum()
    return scores if few else np.where(example.breaks > 0, scores, -1.0)


def pk(example: Example | Sectioned, boundaries: np.ndarray) -> float:
    """Pk of `boundaries` (Beeferman et al., 1999): how often "in one segment?", asked k units apart, is answered wrong.

    k is half the mean length of the true segments, at least 2. The full family is in
    `fovea.pipelines.evaluation.segmentation_metrics`, which is a floor above; tests hold the two equal.
    """
    truth = np.concatenate([[0], np.cumsum(example.boundaries)])
    found = np.concatenate([[0], np.cumsum(boundaries)])
    k = max(2, round(len(truth) / (truth[-1] + 1) / 2))
    if len(truth) <= k:
        return float(not np.array_equal(truth, found))
    return float(((truth[k:] == truth[:-k]) != (found[k:] == found[:-k])).mean())


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """How often one of the true scores higher than one of the others; ties count by their order."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = np.arange(len(scores))
    ones = truth > 0
    return float((ranks[ones].mean() - (ones.sum() - 1) / 2) / (~ones).sum())


Scored = tuple[np.ndarray, "Example | Sectioned"]
"""Scores of gaps and their text: of a Sectioned some gaps may be boundaries, of an Example, which has no units, all."""


def best_threshold(
    texts: Sequence[Scored], choose: Callable[[float, Scored], np.ndarray], among: Sequence[float] = THRESHOLDS
) -> Best:
    """The threshold with the lowest mean Pk over texts; `choose(threshold, scored)` says where boundaries then are."""
    return min(Best(float(np.mean([pk(one[1], choose(t, one)) for one in texts])), t) for t in among)


def chosen(segmenter: GapSegmenter, scores: np.ndarray, text: Example | Sectioned) -> np.ndarray:
    """The boundaries that `segmenter` makes of scores."""
    return segmenter.choose(scores, None) if isinstance(text, Example) else segmenter._decide(scores, text.units, None)


def table(segmenter: GapSegmenter, texts: Sequence[Sectioned], encoder: Encoder) -> list[dict[str, str | float]]:
    """Mean Pk in percent of `segmenter` over the texts of each corpus and split, beside that of no boundary at all."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for text in texts:
        if len(text.units) < 2:
            continue
        guess = segmenter.boundaries(text.units, encoder)
        pair = pk(text, guess), pk(text, np.zeros_like(guess))
        found.setdefault((text.corpus, text.split), []).append(pair)
    return [
        {"corpus": corpus, "split": split, "texts": len(pairs), "Pk %": mean[0], "no boundary": mean[1]}
        for (corpus, split), pairs in sorted(found.items())
        if (mean := (100 * np.mean(pairs, axis=0)).tolist())
    ]
