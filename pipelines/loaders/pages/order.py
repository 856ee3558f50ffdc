"""Reading order: which text stands in columns beside each other, and is read one column after the other.

A gutter is a white strip that no piece crosses for a stretch of the page, with lines on both sides. Both sides are
columns if they hold running text, or were drawn one after the other; else they are parts of the same lines, such as
cells of a table. The page is cut at its longest gutter, and each part again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import numpy as np

from fovea.pipelines.loaders.pages.piece import RTL, Piece, rows, typical_height

LINES = 3
"""Columns have at least so many lines."""
MOST = 2000
"""A page of more pieces is a drawing or an attack: it is read line by line."""
TRIED = 40
"""How many of the longest gutters are looked at."""
DEPTH = 12


@dataclass(slots=True)
class _Cut:
    """A gutter: the pieces `[start, stop)` of those sorted by their tops, left and right of it."""

    start: int
    stop: int
    left: list[Piece]
    right: list[Piece]


def regions(pieces: Sequence[Piece], depth: int = DEPTH) -> list[list[Piece]]:
    """The pieces in groups, each read line by line, in the order in which the groups are read.

    Cost: pieces times distinct right edges, for pages of up to MOST pieces.
    """
    ordered = sorted(pieces, key=lambda p: p.top)
    if depth == 0 or not 2 * LINES <= len(ordered) <= MOST or (cut := _best(ordered)) is None:
        return [ordered] if ordered else []
    backwards = 2 * sum(RTL.search(p.text) is not None for p in ordered) > len(ordered)
    sides = (cut.right, cut.left) if backwards else (cut.left, cut.right)
    parts = (ordered[: cut.start], *sides, ordered[cut.stop :])
    return [region for part in parts for region in regions(part, depth - 1)]


def _best(ordered: Sequence[Piece]) -> _Cut | None:
    width = 0.8 * typical_height(ordered)
    lefts, rights = (np.array(side) for side in zip(*((p.left, p.right) for p in ordered)))
    cuts: dict[tuple[int, int, int], tuple[int, float]] = {}
    for edge in sorted({round(right) for right in rights}):
        for start, stop, count in _stretches(lefts, rights, edge, width):
            cuts.setdefault((start, stop, count), (min(count, stop - start - count), edge))
    for (start, stop, _), (_, edge) in sorted(cuts.items(), key=lambda cut: -cut[1][0])[:TRIED]:
        within = ordered[start:stop]
        left = [p for p in within if p.right <= edge + 0.5]
        right = [p for p in within if p.right > edge + 0.5]
        if _are_columns(left, right):
            return _Cut(start, stop, left, right)
    return None


def _stretches(lefts: np.ndarray, rights: np.ndarray, edge: float, width: float) -> Iterator[tuple[int, int, int]]:
    """Where nothing crosses the strip of `width` to the right of `edge`: first, last and how many are left of it."""
    before = rights <= edge + 0.5
    crossing = np.flatnonzero(~before & (lefts < edge + width))
    bounds = np.concatenate(([-1], crossing, [len(lefts)]))
    counts = np.concatenate(([0], np.cumsum(before)))
    for n in np.flatnonzero(np.diff(bounds) > 2 * LINES):
        start, stop = int(bounds[n]) + 1, int(bounds[n + 1])
        left = int(counts[stop] - counts[start])
        if min(left, stop - start - left) >= LINES:
            yield start, stop, left


def _are_columns(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    if min(len(rows(left)), len(rows(right))) < LINES or not _overlap(left, right):
        return False
    return (_runs(left) and _runs(right)) or (_one_after_the_other(left, right) and not _level(left, right))


def _overlap(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    tops, bottoms = ([min(p.top for p in s) for s in (left, right)], [max(p.bottom for p in s) for s in (left, right)])
    return min(bottoms) - max(tops) > 0.5 * min(b - t for t, b in zip(tops, bottoms))


def _runs(side: Sequence[Piece]) -> bool:
    """Whether most of its pieces have the length of lines of text."""
    return (median(len(p.text) for p in side) >= 16 and median(len(p.text.split()) for p in side) >= 3) or _dense(side)


def _dense(side: Sequence[Piece]) -> bool:
    """Scripts that write no spaces."""
    return median(len(p.text) for p in side) >= 10 and all("\u2e80" <= p.text[0] <= "\u9fff" for p in side[:LINES])


def _one_after_the_other(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    drawn = sorted([(p.order, True) for p in left] + [(p.order, False) for p in right])
    return sum(a[1] != b[1] for a, b in pairwise(drawn)) <= 2


def _level(left: Sequence[Piece], right: Sequence[Piece]) -> bool:
    """Whether the lines of both sides are level and short, as cells of a table are that was drawn column by column."""
    edge = max(p.right for p in left)
    shared = sum(any(p.right <= edge for p in row) and any(p.left > edge for p in row) for row in rows([*left, *right]))
    short = min(median(len(p.text.split()) for p in side) for side in (left, right)) <= 2
    return short and shared > 0.7 * min(len(rows(left)), len(rows(right)))
