"""CSV and TSV: one document per row."""

from __future__ import annotations

import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from pydantic import Field

from fovea.pipelines.loaders.decode import Decoding, decoding
from fovea.pipelines.loaders.records import BadRecord, RecordLoader
from fovea.pipelines.loaders.scalar import Column
from fovea.rag.trace import warn
from fovea.rag.types import Scalar

if TYPE_CHECKING:
    import _csv

DELIMITERS = ",;\t|"
SAMPLE_LINES = 50
DECIMAL_COMMA = re.compile(r"(?<=\d),(?=\d)")
FIGURE = re.compile(r"[\W_]*\d[\d\W_]*")
"""A cell without letters that has a digit in it: a number, a date, an amount. Names of columns are not such."""


class Layout(NamedTuple):
    """How a file is to be read: its delimiter, the title rows above its header, and the names of its columns."""

    found: Decoding
    delimiter: str
    above: int
    titles: str
    names: list[str]


class Row(dict[str, object]):
    """A row as column to cell, each as it is written; `columns` knows the types, `titles` what stands above all."""

    def __init__(self, cells: Iterable[tuple[str, str]], columns: Mapping[str, Column], titles: str) -> None:
        super().__init__(cells)
        self.columns, self.titles = columns, titles


class CsvLoader(RecordLoader, name="csv"):
    """One document per row, streamed: the columns of `text`, or without it every column as a line `column: value`.

    The first row names the columns; title rows above it are the title of each row, behind its own. A row with more or
    fewer cells than it is kept and counted as a warning: cells beyond the last column are named `column n`. A column
    has one type in metadata: numbers, if all its cells are written as numbers that lose nothing (`1.10` and `007` do),
    truth values, or text; so the file is read twice.
    """

    suffixes = (".csv", ".tsv", ".tab")
    format = "CSV"

    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    """What parts the columns; by default a tab for .tsv and .tab, else the one of `,` `;` tab `|` that fits best."""

    quote: str = Field(default='"', max_length=1)
    """What cells with a delimiter or newline in them are wrapped in; an empty string for files without quoting."""

    def records(self, path: Path) -> Iterator[tuple[int, Mapping[str, object] | BadRecord]]:
        """Each row as column to cell, with the number of the line on which it ends."""
        csv.field_size_limit(max(csv.field_size_limit(), self.max_bytes))
        if (layout := self._layout(path)) is None:
            return
        columns = self._columns(path, layout)
        with _open(path, layout.found) as file:
            for line, row in self._rows(file, layout):
                yield line, row if isinstance(row, BadRecord) else self._row(layout, row, columns, path)

    def pick(self, record: Mapping[str, object]) -> tuple[tuple[str, ...], str]:
        """The names of the text columns of a row, and their text."""
        if self.text:
            return super().pick(record)
        return (), "\n".join(f"{name}: {cell}" for name, cell in record.items() if str(cell).strip())

    def heading(self, record: Mapping[str, object]) -> str:
        """The title of a row: its own, and the rows above the header; in brackets where it has both."""
        own, above = super().heading(record), record.titles if isinstance(record, Row) else ""
        return f"{own} ({above})" if own and above else own or above

    def _metadata(self, record: Mapping[str, object], taken: set[str]) -> dict[str, Scalar]:
        kept = super()._metadata(record, taken)
        columns = record.columns if isinstance(record, Row) else {}
        return {k: columns[k].value(v) if k in columns and isinstance(v, str) else v for k, v in kept.items()}

    def _rows(self, file: TextIO, layout: Layout) -> Iterator[tuple[int, list[str] | BadRecord]]:
        """The rows below the header that are not blank, and the line each ends on."""
        rows = self._reader(file, layout.delimiter, strict=True)
        passed = 0
        while True:
            try:
                row = next(rows, None)
            except csv.Error as error:
                yield rows.line_num, BadRecord(f"not CSV: {error}", self._fix())
                return  # Where quoting is broken nobody knows where the next row begins.
            if row is None:
                return
            if any(map(str.strip, row)) and (passed := passed + 1) > layout.above + 1:
                yield rows.line_num, row

    def _columns(self, path: Path, layout: Layout) -> dict[str, Column]:
        """The type of each column, from all its cells."""
        columns: dict[str, Column] = defaultdict(lambda: Column(comma=layout.delimiter != ","))
        with _open(path, layout.found) as file:
            for _, row in self._rows(file, layout):
                if not isinstance(row, BadRecord):
                    for name, cell in _cells(layout.names, row):
                        columns[name].see(cell)
        return columns

    def _row(self, layout: Layout, row: list[str], columns: Mapping[str, Column], path: Path) -> Row:
        if len(row) != len(layout.names):
            warn(f"{path.name}: rows with more or fewer cells than the header has columns")
        return Row(_cells(layout.names, row), columns, layout.titles)

    def _reader(self, lines: Iterable[str], delimiter: str, strict: bool = False) -> _csv.Reader:
        if not self.quote:
            return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
        return csv.reader(lines, delimiter=delimiter, quotechar=self.quote, strict=strict)

    def _fix(self) -> str:
        return "mend the quotes on that line, or if the file does not quote: load: [{use: csv, quote: ''}]"

    def _layout(self, path: Path) -> Layout | None:
        """What the first rows say of the file, or None if all of them are blank."""
        found = decoding(path, self.encoding)
        with _open(path, found) as file:
            lines = [line for line, _ in zip(file, range(SAMPLE_LINES))]
        tabs = path.suffix.lower() in (".tsv", ".tab")
        delimiter = self.delimiter or ("\t" if tabs else self._sniff(lines))
        with _open(path, found) as file:
            rows = self._reader(file, delimiter)  # The header may hold newlines: it is read from the file.
            first = [row for row, _ in zip((r for r in rows if any(map(str.strip, r))), range(SAMPLE_LINES))]
        if not first:
            return None
        above = rows_above(first)
        titles = "; ".join(" ".join(filter(None, map(str.strip, row))) for row in first[:above])
        return Layout(found, delimiter, above, titles, columns(first[above]))

    def _sniff(self, lines: Sequence[str]) -> str:
        """The delimiter that cuts most of the first rows into the same number of cells, at least two."""

        def agreement(delimiter: str) -> int:
            read = lines
            if delimiter == "," and any(sum(d in line for line in lines) > len(lines) / 2 for d in DELIMITERS[1:]):
                read = [DECIMAL_COMMA.sub(".", line) for line in lines]
            widths = Counter(len(row) for row in self._reader(read, delimiter) if row)
            return max(((width > 1) * count for width, count in widths.items()), default=0)

        return max(DELIMITERS, key=agreement)


def rows_above(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first rows, none of them blank, are titles above the header.

    Titles are narrower than the table, whose width most of the later rows have. A first row of names that only lacks
    the last one is a header all the same, and above a row of figures alone nothing is a title.
    """
    widths = [max(n for n, cell in enumerate(row, 1) if cell.strip()) for row in rows]
    counts = Counter(widths[len(widths) // 2 :])
    usual = max(counts, key=lambda width: (counts[width], -width))
    header = next(n for n, width in enumerate(widths) if width >= usual)
    lacks_one = header == 1 and 1 < widths[0] == usual - 1 and not any(map(_figure, rows[0]))
    return 0 if lacks_one or all(map(_figure, rows[header])) else header


def _figure(cell: str) -> bool:
    return FIGURE.fullmatch(cell.strip()) is not None


def columns(row: Sequence[str]) -> list[str]:
    """Names for the columns: empty ones are called `column n`, a repeated one gets a number behind it."""
    names: dict[str, None] = {}
    after: dict[str, int] = {}
    for number, cell in enumerate(row, 1):
        name = first = cell.strip() or f"column {number}"
        while name in names:
            after[first] = max(after.get(first, 0) + 1, number)
            name = f"{first} {after[first]}"
        names[name] = None
    return list(names)


def _cells(names: Sequence[str], row: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from zip(names, row)
    for n in range(len(names), len(row)):
        yield f"column {n + 1}", row[n]


def _open(path: Path, found: Decoding) -> TextIO:
    return path.open(encoding=found.codec, errors=found.errors, newline="")
