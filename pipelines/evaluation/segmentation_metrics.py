"""How far found boundaries are from the true ones.

Boundaries are bool `(gaps,)`: whether a segment ends at each of the n - 1 gaps between n units. A window of k gaps is
slid over the text, with r and f the true and the found boundaries inside it:

    Pk            share of the n - k windows in which one of r, f is 0 and the other is not
    WindowDiff    share of the n - k windows in which r != f
    k             half the mean length of a true segment, rounded half to even, at least 2
    precision, recall, F1    of boundaries matched one to one, exactly or at most `within` gaps apart
    Boundary Similarity      1 - (A + sum of d / n_t) / (A + T + M)

for M boundaries at the same gap, T pairs of one true and one found boundary d < n_t gaps apart (taken nearest first,
then from the left), and A boundaries that are left over.

D. Beeferman, A. Berger and J. Lafferty, "Statistical models for text segmentation" (1999); L. Pevzner and M. Hearst, "A
critique and improvement of an evaluation metric for text segmentation" (2002); C. Fournier, "Evaluating text
segmentation using boundary edit distance" (2013). All are of one text, in time linear in its units; for a set of texts
take the mean (`fovea.pipelines.evaluation.measurements.interval`).
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fovea.rag.errors import QueryError


class Boundaries(NamedTuple):
    """How many of the found boundaries are right, how many of the true ones were found, and the harmonic mean."""

    precision: float
    recall: float
    f1: float


def window(true: np.ndarray) -> int:
    """k: half the mean length of the true segments, in units, rounded half to even, at least 2."""
    return max(2, round(Fraction(len(true) + 1, 2 * (int(np.count_nonzero(true)) + 1))))


def pk(true: np.ndarray, found: np.ndarray, k: int | None = None) -> float:
    """Pk in [0, 1], the lower the better. Where no window fits into the text, 0 if all gaps agree, else 1.

    Raises QueryError for arrays that are empty or not of one length, and for a window under 1.
    """
    in_true, in_found = _windows(true, found, k)
    return float(np.mean((in_true == 0) != (in_found == 0)))


def window_diff(true: np.ndarray, found: np.ndarray, k: int | None = None) -> float:
    """WindowDiff in [0, 1], the lower the better; it is raised, and it ends, as Pk is and does."""
    in_true, in_found = _windows(true, found, k)
    return float(np.mean(in_true != in_found))


def boundary_scores(true: np.ndarray, found: np.ndarray, within: int = 0) -> Boundaries:
    """Precision, recall and F1 of boundaries, of which no two of a side may be matched with one of the other.

    Nothing found is right in all it says (precision 1), and where nothing is true nothing is missed (recall 1); F1 is 0
    where only one side is empty. Raises QueryError as Pk does.
    """
    true, found = _checked(true, found)
    a, b = np.flatnonzero(true).tolist(), np.flatnonzero(found).tolist()
    hits = i = j = 0
    while i < len(a) and j < len(b):
        if abs(a[i] - b[j]) <= within:
            hits, i, j = hits + 1, i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    precision = hits / len(b) if b else 1.0
    recall = hits / len(a) if a else 1.0
    return Boundaries(precision, recall, 2 * hits / (len(a) + len(b)) if a or b else 1.0)


def boundary_similarity(true: np.ndarray, found: np.ndarray, n_t: int = 2) -> float:
    """Boundary Similarity in [0, 1], the higher the better; 1 where neither side has a boundary.

    `n_t` is the number of gaps a near miss may span, both of its ends counted: 2 lets it be one gap off, for half the
    price of a boundary missed. Raises QueryError as Pk does.
    """
    true, found = _checked(true, found)
    matches = int(np.count_nonzero(true & found))
    only = true != found
    missed = int(np.count_nonzero(only))
    pairs, cost = 0, 0.0
    for apart in range(1, n_t):
        for gap in np.flatnonzero(only[:-apart] & only[apart:]).tolist():
            if only[gap] and only[gap + apart] and true[gap] != true[gap + apart]:
                only[gap] = only[gap + apart] = False
                pairs, cost = pairs + 1, cost + apart / n_t
    left = missed - 2 * pairs
    edits = left + pairs + matches
    return 1 - (left + cost) / edits if edits else 1.0


def _windows(true: np.ndarray, found: np.ndarray, k: int | None) -> tuple[np.ndarray, np.ndarray]:
    """True and found boundaries in every window: int `(n - k,)` each; the whole text as k windows of one gap where
    none fits.
    """
    true, found = _checked(true, found)
    k = window(true) if k is None else k
    if k < 1:
        raise QueryError(f"a window of {k} gaps measures nothing", got=str(k), fix="k of 1 or more, or none")
    if k > len(true):
        agree = bool((true == found).all())
        return np.zeros(1, int), np.array([int(not agree)])
    sums = [np.concatenate([[0], np.cumsum(side)]) for side in (true, found)]
    return sums[0][k:] - sums[0][:-k], sums[1][k:] - sums[1][:-k]


def _checked(true: np.ndarray, found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    true, found = np.asarray(true, bool), np.asarray(found, bool)
    if true.shape != found.shape or true.ndim != 1:
        raise QueryError(f"boundaries of one text have one length, got {true.shape} true and {found.shape} found")
    if not len(true):
        raise QueryError("a text of a single unit has no gaps to measure")
    return true, found
