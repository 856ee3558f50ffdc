"""From scores of gaps to boundaries: thresholds, peaks, and the best few. All linear or n log n, and free of text."""

from __future__ import annotations

import numpy as np

STEP = 2.0**-14
"""What scores and similarities are told apart by. Sums of floats differ between machines in their last bits, far below
this; sums of whole steps are exact, so that equals stay equal and chunks are the same everywhere."""


def settled(values: np.ndarray) -> np.ndarray:
    """Values in whole steps of `STEP`, in the precision they came in."""
    return np.rint(values / STEP) * values.dtype.type(STEP)


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


def viterbi(gains: np.ndarray, log_lengths: np.ndarray) -> np.ndarray:
    """The boundaries that maximise, over the segments they make, the sum of `log_lengths[length - 1]` and of `gains` at
    the boundaries: bool `(gaps,)`. No segment is longer than `len(log_lengths)`; of equal ways the one whose last
    segments are longer. O(gaps * len(log_lengths)).

    With log odds for gains and lengths that all weigh the same, it is the rule of each gap by itself.
    """
    n = len(gains) + 1
    best, came = np.full(n + 1, -np.inf), np.zeros(n + 1, np.int64)
    best[0] = 0
    backwards = log_lengths[::-1]
    for end in range(1, n + 1):
        most = min(end, len(log_lengths))
        ways = best[end - most : end] + backwards[len(log_lengths) - most :]
        came[end] = end - most + int(ways.argmax())
        best[end] = ways.max() + (gains[end - 1] if end < n else 0)
    found, end = np.zeros(n - 1, bool), int(came[n])
    while end > 0:
        found[end - 1] = True
        end = int(came[end])
    return found


def shifted(found: np.ndarray, threshold: float) -> np.ndarray:
    """Scores whose odds are divided by those of the threshold, so that a score at the threshold becomes 1/2."""
    t = min(max(threshold, 1e-6), 1 - 1e-6)
    return found * (1 - t) / (found * (1 - t) + (1 - found) * t)
