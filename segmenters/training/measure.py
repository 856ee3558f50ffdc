"""What trainings read of sectioned texts, and how they measure themselves on the development part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from segmenters.gaps import LONGEST_PARAGRAPH
from segmenters.training.sampling import Example

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from segmenters.sectioned import Sectioned


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


def pk(example: Example, boundaries: np.ndarray) -> float:
    """Pk of `boundaries` (Beeferman et al., 1999): how often "in one segment?", asked k units apart, is answered wrong.

    k is half the mean length of the true segments, at least 2. The full family is in `pipelines.segmentation_metrics`,
    which is a floor above; tests hold the two equal.
    """
    truth = np.concatenate([[0], np.cumsum(example.boundaries)])
    found = np.concatenate([[0], np.cumsum(boundaries)])
    k = max(2, round(len(truth) / (truth[-1] + 1) / 2))
    if len(truth) <= k:
        return float(not np.array_equal(truth, found))
    return float(((truth[k:] == truth[:-k]) != (found[k:] == found[:-k])).mean())
