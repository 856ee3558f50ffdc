"""The cells of a sheet as the tables that people see in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from fovea.pipelines.loaders.writer import Writer


class Cell(NamedTuple):
    """A cell as shown; `words` is false for numbers, dates and truth values, `merged` names the range it is part of."""

    text: str
    words: bool = True
    merged: str = ""


Row = Sequence[Cell]
NOTHING = Cell("")


def write_sheet(writer: Writer, rows: Iterable[Row]) -> None:
    """Each block of rows between empty rows as a table. Rows of one cell above it (a caption) are paragraphs, and a
    block of one column is nothing else. The first row is the header if it holds words alone."""
    for block in blocks(rows):
        table = list(block)
        while table and (len(table) == 1 or _wide(table[0]) < 2) and len(_said(table[0])) == 1:
            writer.paragraph(_said(table.pop(0))[0])
        columns = [n for n in range(max(map(len, table), default=0)) if any(_at(row, n).text for row in table)]
        if len(columns) == 1:
            for row in table:
                writer.paragraph(_at(row, columns[0]).text)
        elif table:
            header = all(cell.words for cell in table[0] if cell.text)
            writer.table([[_at(row, n).text for n in columns] for row in table], header=header)


def blocks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows that follow each other without an empty one between."""
    block: list[Row] = []
    for row in rows:
        if any(cell.text for cell in row):
            block.append(row)
        elif block:
            yield block
            block = []
    if block:
        yield block


def _said(row: Row) -> list[str]:
    """The texts of a row, those of a merged range once."""
    seen = {(cell.merged or n): cell.text for n, cell in enumerate(row) if cell.text}
    return list(seen.values())


def _wide(row: Row) -> int:
    return len(_said(row))


def _at(row: Row, column: int) -> Cell:
    return row[column] if column < len(row) else NOTHING
