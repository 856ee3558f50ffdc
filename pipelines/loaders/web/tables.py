"""Tables of web pages: cells that span rows and columns put back into a grid, and tables that only lay out a page."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bs4 import Tag

WIDEST = 100
"""Columns that a cell may span, and from which cells may reach into other rows; browsers stop at 1,000."""
LONGEST = 200
"""Characters of a cell that is said again in each row it reaches into."""
_HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")


@dataclass
class Grid:
    """Rows of texts, filled cell by cell."""

    rows: list[list[str]] = field(default_factory=list)
    heads: list[list[bool]] = field(default_factory=list)
    _down: dict[int, tuple[str, float]] = field(default_factory=dict)
    """Cells from above by column: text, and how many more rows they reach into."""

    def start_row(self) -> None:
        """The next cell begins a row."""
        self._fill()
        self.rows.append([])
        self.heads.append([])

    def add(self, text: str, rows: float, columns: int, *, head: bool) -> None:
        """A cell; a row that it reaches into gets its text again, a column only room."""
        if not self.rows:
            self.start_row()
        self._from_above()
        at = len(self.rows[-1])
        self.rows[-1] += [text, *[""] * (columns - 1)]
        self.heads[-1] += [head] * columns
        for column in range(at, min(at + columns, WIDEST)) if rows > 1 else ():
            self._down[column] = (text if column == at and len(text) <= LONGEST else "", rows - 1)

    def finished(self) -> tuple[list[list[str]], bool]:
        """All rows, and whether the first is the header: not where each row is headed by its first cell."""
        self._fill()
        sides = [row for row in self.heads if row]
        aside = bool(sides) and all(row[0] and not all(row) for row in sides)
        return self.rows, not (aside and len(sides[0]) > 1)

    def _from_above(self) -> None:
        while (at := len(self.rows[-1])) in self._down:
            text, more = self._down.pop(at)
            self.rows[-1].append(text)
            self.heads[-1].append(False)
            if more > 1:
                self._down[at] = (text, more - 1)

    def _fill(self) -> None:
        """What reaches into the latest row behind its last cell."""
        while self.rows and any(at >= len(self.rows[-1]) for at in self._down):
            before = len(self.rows[-1])
            self._from_above()
            if len(self.rows[-1]) == before:
                self.rows[-1].append("")
                self.heads[-1].append(False)


def spans(cell: Tag) -> tuple[float, int]:
    """How many rows and columns a cell spans; `rowspan=0` reaches to the end of the table."""
    rows, columns = (_number(cell.get(name)) for name in ("rowspan", "colspan"))
    return (float("inf") if rows == 0 else rows or 1), min(max(columns or 1, 1), WIDEST)


def lays_out(table: Tag) -> bool:
    """Whether a table arranges blocks rather than data: it says so, has one column, or holds headings, or others."""
    if table.get("role") in ("presentation", "none"):
        return True
    rows = [row.find_all(["td", "th"], recursive=False) for row in _rows(table)]
    if any(cell.name == "th" for row in rows for cell in row):
        return False
    return max(map(len, rows), default=0) <= 1 or table.find([*_HEADINGS, "table"]) is not None


def _rows(table: Tag) -> list[Tag]:
    parts = [table, *table.find_all(["thead", "tbody", "tfoot"], recursive=False)]
    return [row for part in parts for row in part.find_all("tr", recursive=False)]


def _number(value: object) -> int | None:
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*\d{1,5}\s*", value) else None
