"""The best way to divide a row of units into segments of at most `longest`, and what each boundary is worth.

A segment is worth the sum over its pairs of units of (cosine - mean cosine of the text), so what is more alike than
usual belongs together. Everything is O(units * longest) in time and memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fovea.segmenters.products import Vectors

PRICE = 1e-4
"""What a boundary must gain, so that rounding errors make none."""
TIE = 2e-6
"""Divisions whose worths differ by less are equally good: sums differ by some of that between machines."""
BARRED = 1e6
"""What a boundary costs where there should be none, more than any segment is worth."""


class Division(NamedTuple):
    """The best division of a text, and its alternatives."""

    boundaries: np.ndarray
    """bool `(gaps,)`."""
    margins: np.ndarray
    """How much better the best division with a boundary at the gap is than the best without: float64 `(gaps,)`."""


def worths(rows: Vectors, longest: int) -> np.ndarray:
    """Worth of the segment of `length` units that begins at unit i, at `[length - 1, i]`; -inf past the end: float64
    `(longest, units)`. O(units * longest * dim).
    """
    n = len(rows)
    band = rows.band(longest).astype(np.float64)
    mean = _mean_product(rows)
    found = np.full((longest, n), -np.inf)
    found[0] = 0
    tail = np.zeros(n)  # of the unit at each place: the sum of its products with the d units before it
    for d in range(1, min(longest, n)):
        tail[d:] += band[d, : n - d] - mean
        found[d, : n - d] = found[d - 1, : n - d] + tail[d:]
    return found


def divide(worth: np.ndarray, may: np.ndarray) -> Division:
    """The division with the greatest sum of worths; boundaries lie where `may`, bool `(gaps,)`, says so, and elsewhere
    only as far as `longest` asks. Of equally good ones that with the longer segments at its end.
    """
    n = worth.shape[1]
    price = np.zeros(n + 1)
    price[1:n] = np.where(may, PRICE, BARRED)
    forward, back = _best_before(worth, price)
    backward = _best_after(worth, price)
    with_it = (forward + backward + price)[1:n]
    boundaries = np.zeros(n - 1, bool)
    at = n - int(back[n])
    while at > 0:
        boundaries[at - 1] = True
        at -= int(back[at])
    return Division(boundaries, with_it - _best_across(worth, forward, backward))


def _best_before(worth: np.ndarray, price: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The worth of the best division of the first j units, the price of a boundary after them paid, and the length of
    its last segment: each `(units + 1,)`.
    """
    longest, n = worth.shape
    ending = np.full((n + 1, longest), -np.inf)  # [j, k]: the segment of longest - k units that ends before unit j
    for length in range(1, min(longest, n) + 1):
        ending[length:, longest - length] = worth[length - 1, : n + 1 - length]
    best, last = np.full(longest + n + 1, -np.inf), np.zeros(n + 1, np.int64)
    best[longest] = 0
    for j in range(1, n + 1):
        ways = best[j : j + longest] + ending[j]
        k = int((ways > ways.max() - TIE).argmax())
        best[longest + j], last[j] = ways[k] - price[j], longest - k
    return best[longest:], last


def _best_after(worth: np.ndarray, price: np.ndarray) -> np.ndarray:
    """The same from the other end: the best division of the units from j on, `(units + 1,)`."""
    longest, n = worth.shape
    turned = np.full_like(worth, -np.inf)
    for length in range(1, min(longest, n) + 1):
        turned[length - 1, : n + 1 - length] = worth[length - 1, : n + 1 - length][::-1]
    return _best_before(turned, price[::-1])[0][::-1]


def _best_across(worth: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """The worth of the best division that has no boundary at each gap: float64 `(gaps,)`.

    A segment covers what the two segments covers that are one unit shorter, so the best is handed down by length.
    """
    longest, n = worth.shape
    across = np.full(n, -np.inf)
    for length in range(min(longest, n), 1, -1):
        longer, across = across, np.full(n, -np.inf)
        m = n + 1 - length
        across[:m] = forward[:m] + worth[length - 1, :m] + backward[length:]
        across[: m - 1] = np.maximum(across[: m - 1], longer[: m - 1])
        across[1:m] = np.maximum(across[1:m], longer[: m - 1])
    return across[: n - 1]


def _mean_product(rows: Vectors) -> float:
    """Mean of the products of all pairs of different rows, from the sum of the rows alone."""
    n = len(rows)
    total = rows.rows.sum(0, dtype=np.float64)
    own = np.einsum("ij,ij->", rows.rows, rows.rows, dtype=np.float64)
    return float(total @ total - own) / (n * (n - 1))
