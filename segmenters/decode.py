"""From scores of gaps to boundaries: thresholds, peaks, and the best few. All linear or n log n, and free of text."""

from __future__ import annotations

import numpy as np


def peaks(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Gaps whose score is over the threshold and no lower than the one before, higher than the next: bool `(gaps,)`."""
    around = np.concatenate([[-np.inf], scores, [-np.inf]])
    return (scores > threshold) & (scores >= around[:-2]) & (scores > around[2:])


def best(scores: np.ndarray, count: int, *, apart: int = 1) -> np.ndarray:
    """The `count` highest scores, each at least `apart` gaps from those chosen before it, or none: bool `(gaps,)`.

    Ties go to the earlier gap. Where keeping apart leaves too few, the highest of the rest fill up. O(n log n + count).
    """
    chosen = np.zeros(len(scores), bool)
    order = np.argsort(-scores, kind="stable")
    blocked, left = np.zeros(len(scores), bool), min(count, len(scores))
    for gap in order.tolist():
        if left == 0:
            break
        if not blocked[gap]:
            chosen[gap] = True
            blocked[max(0, gap - apart + 1) : gap + apart] = True
            left -= 1
    if left:
        chosen[[gap for gap in order.tolist() if not chosen[gap]][:left]] = True
    return chosen
