"""Rows of OpenDocument tables: repeated cells and rows written out, merged ones filled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fovea.pipelines.loaders.opendocument.words import OFFICE, TABLE, plain
from fovea.pipelines.loaders.sheets.grid import NOTHING, Cell

MAX_CELLS = 5_000_000
"""Cells of one table, written out: a few bytes can say that a row is repeated a million times."""
MAX_COLUMNS = 1 << 14
CELL, COVERED = f"{TABLE}table-cell", f"{TABLE}covered-table-cell"


def grid(table: Any) -> Iterator[list[Cell]]:
    """The rows of a table; the ValueError for one of too many cells becomes the file's error."""
    spans: dict[int, tuple[int, Cell]] = {}
    left = MAX_CELLS
    for row in table.iter(f"{TABLE}table-row"):
        if next(row.iterancestors(f"{TABLE}table")) is not table:
            continue
        cells = _row(row, spans)
        for _ in range(_number(row, "number-rows-repeated") if cells else 1):
            left -= len(cells)
            if left < 0:
                raise ValueError(f"a table spans more than {MAX_CELLS:,} cells")
            yield cells


def _row(row: Any, spans: dict[int, tuple[int, Cell]]) -> list[Cell]:
    """One row without its empty end. `spans` holds, by column, for how many more rows a merged cell goes on."""
    out: list[Cell] = []
    for element in row.iterchildren(CELL, COVERED):
        repeat = min(_number(element, "number-columns-repeated"), MAX_COLUMNS - len(out))
        cell = _cell(element)
        if element.tag == COVERED:
            out += [_covered(spans, len(out) + n, cell) for n in range(repeat)]
            continue
        wide, high = (_number(element, f"number-{what}-spanned") for what in ("columns", "rows"))
        if wide > 1 or high > 1:
            cell = cell._replace(merged=f"{id(element)}")
            spans |= {len(out) + n: (high - (n == 0), cell) for n in range(min(wide, MAX_COLUMNS))}
        out += [cell] * repeat
    while out and not out[-1].text:
        out.pop()
    return out


def _covered(spans: dict[int, tuple[int, Cell]], column: int, cell: Cell) -> Cell:
    left, held = spans.get(column, (0, NOTHING))
    if left:
        spans[column] = (left - 1, held)
    return held if left else cell


def _cell(element: Any) -> Cell:
    """A cell's words as the program that saved them showed them, or its value where it wrote no words."""
    kind = element.get(f"{OFFICE}value-type", "string")
    names = ("string-value", "date-value", "time-value", "boolean-value", "value")
    value = next((found for name in names if (found := element.get(f"{OFFICE}{name}"))), "")
    text = plain(element) or value
    return Cell(text, kind == "string") if text.strip() else NOTHING


def _number(element: Any, name: str) -> int:
    return max(int(element.get(f"{TABLE}{name}", "1")), 1)
