"""CSV and TSV: one document per row."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from fovea.pipelines.loaders.decode import open_text
from fovea.pipelines.loaders.records import BadRecord, RecordLoader
from fovea.pipelines.loaders.scalar import scalar
from fovea.rag.trace import warn
from fovea.rag.types import Scalar

if TYPE_CHECKING:
    import _csv

DELIMITERS = ",;\t|"
SAMPLE_LINES = 50


class CsvLoader(RecordLoader, name="csv"):
    """One document per row, streamed: the columns of `text`, or without it every column as a line `column: value`.

    The first row names the columns. A row with more or fewer cells than it is kept and counted as a warning: cells
    beyond the last column are named `column n`. Numbers in metadata become numbers.
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
        with open_text(path, self.encoding) as file:
            delimiter = self.delimiter or ("\t" if path.suffix.lower() in (".tsv", ".tab") else self._sniff(path))
            rows = self._reader(file, delimiter, strict=True)
            names: list[str] = []
            while True:
                try:
                    row = next(rows, None)
                except csv.Error as error:
                    yield rows.line_num, BadRecord(f"not CSV: {error}", self._fix())
                    return  # Where quoting is broken nobody knows where the next row begins.
                if row is None:
                    return
                if not any(map(str.strip, row)):
                    continue
                if not names:
                    names = columns(row)
                else:
                    yield rows.line_num, self._row(names, row, path)

    def pick(self, record: Mapping[str, object]) -> tuple[tuple[str, ...], str]:
        """The names of the text columns of a row, and their text."""
        if self.text:
            return super().pick(record)
        return (), "\n".join(f"{name}: {cell}" for name, cell in record.items() if str(cell).strip())

    def _metadata(self, record: Mapping[str, object], taken: set[str]) -> dict[str, Scalar]:
        return {k: scalar(v) if isinstance(v, str) else v for k, v in super()._metadata(record, taken).items()}

    def _row(self, names: list[str], row: list[str], path: Path) -> dict[str, object]:
        if len(row) != len(names):
            warn(f"{path.name}: rows with more or fewer cells than the header has columns")
        beyond = (f"column {n}" for n in range(len(names) + 1, len(row) + 1))
        return dict(zip((*names, *beyond), row))

    def _reader(self, lines: Iterable[str], delimiter: str, strict: bool = False) -> _csv.Reader:
        if not self.quote:
            return csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=strict)
        return csv.reader(lines, delimiter=delimiter, quotechar=self.quote, strict=strict)

    def _fix(self) -> str:
        return "mend the quotes on that line, or if the file does not quote: load: [{use: csv, quote: ''}]"

    def _sniff(self, path: Path) -> str:
        """The delimiter that cuts most of the first rows into the same number of cells, at least two."""
        with open_text(path, self.encoding) as file:
            lines = [line for line, _ in zip(file, range(SAMPLE_LINES))]

        def agreement(delimiter: str) -> int:
            widths = Counter(len(row) for row in self._reader(lines, delimiter) if row)
            return max(((width > 1) * count for width, count in widths.items()), default=0)

        return max(DELIMITERS, key=agreement)


def columns(row: list[str]) -> list[str]:
    """Names for the columns: empty ones are called `column n`, a repeated one gets its number behind it."""
    names: list[str] = []
    for number, cell in enumerate(row, 1):
        name = cell.strip() or f"column {number}"
        names.append(name if name not in names else f"{name} {number}")
    return names
