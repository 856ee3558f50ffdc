"""Excel workbooks as Markdown: a heading a sheet, its cells as they are shown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.packed import package
from fovea.pipelines.loaders.scripts import SUB, SUP, run_on
from fovea.pipelines.loaders.sheets.extras import NEEDED_BY, Extras, extras
from fovea.pipelines.loaders.sheets.grid import NOTHING, Cell, write_sheet
from fovea.pipelines.loaders.sheets.number_format import general, shown
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

MAX_CELLS = 30_000_000
"""Cells that a sheet may span, empty ones included: a few bytes of XML can name the last of 17 thousand million."""


class XlsxLoader(FileLoader, name="xlsx"):
    """One document a workbook: each sheet is a heading, its blocks of cells are pipe tables.

    Cells are as shown: number formats applied, formulas by the value last computed (without one, the formula itself,
    counted), merged ranges filled. Comments and the words of shapes follow their sheet. Charts, pictures and what is
    printed above and below pages are left out, counted.
    """

    suffixes = (".xlsx", ".xlsm", ".xltx", ".xltm")
    packages = {"openpyxl": "files", "lxml": "files"}
    format = "Excel workbook"

    hidden: bool = True
    """Whether hidden sheets, rows and columns are read; counted either way."""

    def read(self, path: Path) -> Iterator[Document]:
        """The workbook as one document."""
        openpyxl = require("openpyxl", extra="files", needed_by=NEEDED_BY)
        require("lxml", extra="files", needed_by=NEEDED_BY)
        writer = Writer()
        with package(path, self) as archive:
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False, rich_text=True)
            try:
                metadata = _metadata(book)
                for sheet in book.worksheets:
                    self._sheet(writer, sheet, archive, path)
                warn(f"{path.name}: sheets that are charts, left out", len(book.chartsheets))
            finally:
                book.close()
            _count_drawn(archive, path)
        if writer.text.strip():
            name, title = path.as_posix(), str(metadata.pop("title", ""))
            yield Document(name, writer.text, name, " ".join(title.split()), "text/markdown", metadata)

    def _sheet(self, writer: Writer, sheet: Any, archive: ZipFile, path: Path) -> None:
        secret = sheet.sheet_state != "visible"
        if secret:
            self._count_hidden("sheets", 1, path)
        if secret and not self.hidden:
            return
        more = extras(archive, sheet._worksheet_path.lstrip("/"))
        self._count_hidden("rows", len(more.hidden_rows), path)
        self._count_hidden("columns", bool(more.hidden_columns), path)
        rows = self._rows(sheet, more, path)
        first = next((row for row in rows if any(cell.text for cell in row)), [])
        if first or more.shapes or more.comments:
            writer.heading(1, sheet.title)
            write_sheet(writer, chain([first], rows))
        for words in more.shapes:
            writer.paragraph(words)
        for cell, author, words in more.comments:
            writer.item(f"Comment on {cell}{f' by {author}' if author else ''}: {words}")
        warn(f"{path.name}: headers and footers of printed pages, left out", more.printed)

    def _count_hidden(self, what: str, times: int, path: Path) -> None:
        done = "read too (hidden: false leaves them out)" if self.hidden else "left out (hidden: true reads them)"
        warn(f"{path.name}: hidden {what}, {done}", times)

    def _rows(self, sheet: Any, more: Extras, path: Path) -> Iterator[list[Cell]]:
        """The rows of a sheet with merged ranges filled."""
        sheet.reset_dimensions()  # What a file says of its own size is often wrong.
        spans, held, seen = _Spans(more.merged), {}, 0
        for number, row in enumerate(sheet.iter_rows(), 1):
            cells = [_cell(cell, number, n, more, path) for n, cell in enumerate(row, 1)]
            for first, last, top, key in spans.at(number):
                last, seen = min(last, more.width), seen + last - first
                if top == number:
                    held[key] = cells[first - 1] if first <= len(cells) else NOTHING
                if held[key].text:
                    cells += [NOTHING] * (last - len(cells))
                    cells[first - 1 : last] = [held[key]._replace(merged=key)] * (last - first + 1)
            seen += len(cells)
            if seen > MAX_CELLS:
                raise DocumentError(
                    f"sheet {sheet.title!r} spans more than {MAX_CELLS:,} cells, most of them empty",
                    where=path.as_posix(),
                    fix="delete the empty rows and columns around its tables, or save the tables as CSV",
                )
            if self.hidden:
                yield cells
            elif number not in more.hidden_rows:
                yield [cell for n, cell in enumerate(cells, 1) if n not in more.hidden_columns]


class _Spans:
    """Which merged ranges a row crosses, as rows go by."""

    def __init__(self, merged: list[tuple[int, int, int, int]]) -> None:
        self.coming = sorted(merged, key=lambda m: m[1], reverse=True)
        self.open: list[tuple[int, int, int, int]] = []

    def at(self, row: int) -> Iterator[tuple[int, int, int, str]]:
        """First column, last column, first row and a name of each."""
        self.open = [m for m in self.open if m[3] >= row]
        while self.coming and self.coming[-1][1] <= row:
            self.open.append(self.coming.pop())
        for first, top, last, bottom in self.open:
            yield first, last, top, f"{first},{top},{last},{bottom}"


def _cell(cell: Any, row: int, column: int, more: Extras, path: Path) -> Cell:
    value = cell.value if not isinstance(cell.value, list) else run_on(map(_run, cell.value))
    if value is None and not more.formulas:
        return NOTHING
    if value is None:
        formula = more.formulas.get((row, column))
        warn(f"{path.name}: formulas that no program has computed, read as they are written", formula is not None)
        return Cell(f"={formula}") if formula else NOTHING
    text = shown(value, cell.number_format or "General")
    if not text and value and not isinstance(value, str):
        warn(f"{path.name}: cells whose format hides their value, read in general form")
        text = general(value) if isinstance(value, (int, float)) else str(value)
    return Cell(text, isinstance(value, str))


def _run(part: Any) -> tuple[str, str]:
    """A part of a cell whose letters differ, behind its mark where it is raised or lowered."""
    place = getattr(getattr(part, "font", None), "vertAlign", None)
    return {"superscript": SUP, "subscript": SUB}.get(place or "", ""), str(part)


def _count_drawn(archive: ZipFile, path: Path) -> None:
    names = archive.namelist()
    warn(f"{path.name}: charts, left out", sum(n.startswith("xl/charts/chart") for n in names))
    warn(f"{path.name}: pictures, left out", sum(n.startswith("xl/media/") for n in names))


def _metadata(book: Any) -> dict[str, Scalar]:
    core = book.properties
    year = core.created.year if core.created else 0
    fields = {"title": core.title, "author": core.creator, "year": year, "sheets": len(book.worksheets)}
    return {key: value for key, value in fields.items() if value}
