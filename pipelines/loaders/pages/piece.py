"""Text with its place on a page: x grows to the right and y downwards, in points."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

RTL = re.compile(r"[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
"""Letters that are written from right to left."""

WIDE = 0.7
"""White space of more heights than this parts columns, or is a wide space in a justified line."""


@dataclass(slots=True)
class Piece:
    """A word, a run of words or a table in its box. `run` numbers the line it was drawn in, `order` the piece itself;
    a `block` is text with lines of its own, and stays as it is."""

    text: str
    left: float
    top: float
    right: float
    bottom: float
    run: int = 0
    order: float = 0
    block: bool = False

    @property
    def height(self) -> float:
        """The height of the box: that of the font, for words."""
        return self.bottom - self.top

    @property
    def middle(self) -> float:
        """The height at which the middle of the box lies."""
        return (self.top + self.bottom) / 2

    def beside(self, other: Piece) -> bool:
        """Whether both stand on one line: their boxes share more than half of the lower one's height."""
        shared = min(self.bottom, other.bottom) - max(self.top, other.top)
        return shared > 0.5 * min(self.height, other.height)

    def gap(self, other: Piece) -> float:
        """The white space between two pieces of a line; negative where they overlap."""
        return max(other.left - self.right, self.left - other.right)


def around(pieces: Sequence[Piece], text: str, block: bool = False) -> Piece:
    """One piece in the box around several, in the place of the first."""
    first = pieces[0]
    return Piece(
        text,
        min(p.left for p in pieces),
        min(p.top for p in pieces),
        max(p.right for p in pieces),
        max(p.bottom for p in pieces),
        first.run,
        first.order,
        block,
    )


def typical_height(pieces: Iterable[Piece]) -> float:
    """The middle height of the pieces that are no blocks; 1 when there are none."""
    return median([p.height for p in pieces if not p.block and p.height > 0] or [1.0])


def rows(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """The pieces by lines from top to bottom, and along each line as it is read."""
    found: list[list[Piece]] = []
    for piece in sorted(pieces, key=lambda p: p.middle):
        if found and not piece.block and not found[-1][0].block and any(map(piece.beside, found[-1][-8:])):
            found[-1].append(piece)
        else:
            found.append([piece])
    return [_along(row) for row in found]


def _along(row: list[Piece]) -> list[Piece]:
    backwards = 2 * sum(RTL.search(p.text) is not None for p in row) > len(row)
    return sorted(row, key=lambda p: -p.right if backwards else p.left)


def joined(row: Sequence[Piece]) -> str:
    """The text of one line; what touches is written together."""
    parts: list[str] = []
    for before, piece in zip((None, *row), row):
        if before is not None and before.gap(piece) > 0.12 * min(before.height, piece.height):
            parts.append(" ")
        parts.append(piece.text)
    return "".join(parts)


def segments(words: Sequence[Piece]) -> list[Piece]:
    """Words in the order in which they were drawn, joined to stretches without a wide gap. A line written from right
    to left stays one, since numbers and names in it jump to and fro."""
    found: list[list[Piece]] = []
    backwards = {word.run for word in words if RTL.search(word.text)}
    for word in words:
        last = found[-1][-1] if found else None
        if (
            last is not None
            and last.run == word.run
            and not (word.block or last.block)
            and last.beside(word)
            and (word.run in backwards or -word.height < last.gap(word) < WIDE * max(word.height, last.height))
        ):
            found[-1].append(word)
        else:
            found.append([word])
    return [around(s, " ".join(w.text for w in s), s[0].block) for s in found]
