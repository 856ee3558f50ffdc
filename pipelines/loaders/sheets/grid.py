"""The cells of a sheet as the tables that people see in it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import takewhile
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
        captions = list(takewhile(lambda said: len(said) == 1, map(_said, block)))
        for caption in captions:
            writer.paragraph(caption[0])
        table = block[len(captions) :]
        columns = sorted({n for row in table for n, cell in enumerate(row) if cell.text})
        if len(columns) == 1:
            for row in table:
                writer.paragraph(row[columns[0]].text)
        elif table:
            header = all(cell.words for cell in table[0] if cell.text)
            lines = ([row[n].text for n in columns[: bisect_left(columns, len(row))]] for row in table)
            writer.table(lines, header=header)


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
