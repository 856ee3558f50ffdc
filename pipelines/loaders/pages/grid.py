"""Tables drawn with rules: from horizontal and vertical lines to cells, and from words in them to rows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from fovea.pipelines.loaders.pages.piece import Piece, around, joined, rows
from fovea.pipelines.loaders.writer import Writer

NEAR = 3.0
"""Lines that end so near each other, in points, meet."""
MOST = 600
"""More rules of one direction than this are a drawing."""


class Rule(NamedTuple):
    """A line at `at` (its y if it is horizontal, else its x) from `start` to `stop`."""

    at: float
    start: float
    stop: float


@dataclass(slots=True)
class Grid:
    """Rules that meet, and the edges of columns and rows they make."""

    across: list[Rule] = field(default_factory=list)
    down: list[Rule] = field(default_factory=list)
    xs: list[float] = field(default_factory=list)
    ys: list[float] = field(default_factory=list)

    def cell(self, piece: Piece) -> tuple[int, int] | None:
        """The row and column that hold the middle of `piece`, or None."""
        x = (piece.left + piece.right) / 2
        if not (self.xs[0] <= x <= self.xs[-1] and self.ys[0] <= piece.middle <= self.ys[-1]):
            return None
        row = min(bisect_right(self.ys, piece.middle), len(self.ys) - 1) - 1
        column = min(bisect_right(self.xs, x), len(self.xs) - 1) - 1
        while column and not self._parted(self.down, self.xs[column], (self.ys[row] + self.ys[row + 1]) / 2):
            column -= 1  # No rule to the left: the cell reaches over several columns.
        while row and not self._parted(self.across, self.ys[row], (self.xs[column] + self.xs[column + 1]) / 2):
            row -= 1
        return row, column

    def _parted(self, rules: Sequence[Rule], edge: float, at: float) -> bool:
        return any(abs(r.at - edge) <= NEAR and r.start - NEAR <= at <= r.stop + NEAR for r in rules)


def grids(across: Sequence[Rule], down: Sequence[Rule]) -> list[Grid]:
    """The tables that horizontal and vertical rules draw: at least two columns, in one or more rows.

    Cost: horizontal times vertical rules, at most MOST of each.
    """
    across, down = sorted(set(across)), sorted(set(down))
    if not (across and down) or max(len(across), len(down)) > MOST:
        return []
    found: list[Grid] = []
    for rule in down:
        touching = [h for h in across if _meet(h, rule)]
        new = Grid(touching, [rule])
        for old in [g for g in found if not set(touching).isdisjoint(g.across)]:
            new.across, new.down = sorted({*new.across, *old.across}), [*old.down, *new.down]
            found.remove(old)
        found.append(new)
    for grid in found:
        grid.xs, grid.ys = _edges(grid.down), _edges(grid.across)
    return [grid for grid in found if len(grid.xs) > 2 and len(grid.ys) > 1]


def _meet(across: Rule, down: Rule) -> bool:
    return across.start - NEAR <= down.at <= across.stop + NEAR and down.start - NEAR <= across.at <= down.stop + NEAR


def _edges(rules: Sequence[Rule]) -> list[float]:
    found: list[float] = []
    for at in sorted(rule.at for rule in rules):
        if not found or at - found[-1] > NEAR:
            found.append(at)
    return found


def with_tables(words: Sequence[Piece], found: Sequence[Grid]) -> list[Piece]:
    """The words, those inside a grid replaced by one block each that holds its table."""
    for grid in found:
        cells: dict[tuple[int, int], list[Piece]] = {}
        rest: list[Piece] = []
        for word in words:
            place = None if word.block else grid.cell(word)
            (rest if place is None else cells.setdefault(place, [])).append(word)
        if any(map(_holds_columns, cells.values())):
            continue  # Boxes of a layout or a form, not cells.
        if len({column for _, column in cells}) > 1 and len(table := _rows(grid, cells)) > 1:
            writer = Writer()
            writer.table(table)
            inside = [word for cell in cells.values() for word in cell]
            block = around(inside, writer.text.rstrip("\n"), block=True)
            words = sorted([*rest, block], key=lambda p: p.order)
    return list(words)


def _holds_columns(cell: Sequence[Piece]) -> bool:
    """Whether several lines of a cell are parted by wide gaps."""
    gaps = (max((a.gap(b) - 1.5 * a.height for a, b in pairwise(line)), default=0) for line in rows(cell))
    return sum(gap > 0 for gap in gaps) > 1


def _rows(grid: Grid, cells: dict[tuple[int, int], list[Piece]]) -> list[list[str]]:
    """The table's rows. Where rules part only the head from the body, each line of the first column begins a row."""
    table: list[list[str]] = []
    for row in range(len(grid.ys) - 1):
        columns = [cells.get((row, column), []) for column in range(len(grid.xs) - 1)]
        starts = [line[0].top - line[0].height / 2 for line in rows(columns[0])]
        if len(grid.ys) > 3 or len(starts) < 2:
            starts = []
        lines: list[list[list[Piece]]] = [[[] for _ in columns] for _ in range(max(len(starts), 1))]
        for column, pieces in enumerate(columns):
            for piece in pieces:
                lines[max(bisect_right(starts, piece.top) - 1, 0)][column].append(piece)
        table += [["\n".join(map(joined, rows(cell))) for cell in line] for line in lines]
    return [line for line in table if any(line)]
