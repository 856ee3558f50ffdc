"""Shapes of a slide in reading order, each written as what it is: words, a list, a table, a chart, a diagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fovea.pipelines.loaders.slides.words import alternative, paragraphs, write_words
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.trace import warn

FURNITURE = ("ftr", "dt", "sldNum", "hdr")
"""Placeholders that repeat on every slide: footer, date, number."""
OLE_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
DIAGRAM_DATA = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"


def in_order(shapes: list[Any]) -> Iterator[Any]:
    """Shapes row by row, from the left in each; a shape is in a row if its top lies above the middle of the row's
    first. Those without a place come last."""
    placed = sorted((s for s in shapes if s.top is not None), key=lambda s: (s.top, s.left or 0))
    row: list[Any] = []
    for shape in placed:
        if row and shape.top >= row[0].top + (row[0].height or 0) / 2:
            yield from sorted(row, key=lambda s: s.left or 0)
            row = []
        row.append(shape)
    yield from sorted(row, key=lambda s: s.left or 0)
    yield from (shape for shape in shapes if shape.top is None)


def write_shape(writer: Writer, shape: Any, name: str) -> None:
    """Write one shape, groups with all that is in them; `name` is the file's, for warnings."""
    if hasattr(shape, "shapes"):
        for inner in in_order(list(shape.shapes)):
            write_shape(writer, inner, name)
        alternative(writer, shape.shapes._spTree if hasattr(shape.shapes, "_spTree") else shape._element)
    elif placeholder(shape) in FURNITURE:
        warn(f"{name}: footers, dates and numbers of slides, left out", placeholder(shape) != "sldNum")
    elif getattr(shape, "has_table", False) and shape.has_table:
        _table(writer, shape.table)
    elif getattr(shape, "has_chart", False) and shape.has_chart:
        _chart(writer, shape.chart, name)
    elif (diagram := shape._element.find(f".//{OLE_DIAGRAM}")) is not None:
        _diagram(writer, shape, diagram)
    elif getattr(shape, "has_text_frame", False) and shape.has_text_frame:
        write_words(writer, shape.text_frame._txBody, listed=placeholder(shape) in ("body", "obj", "list"))
    else:
        _picture(writer, shape, name)


def placeholder(shape: Any) -> str:
    """The type of the placeholder that `shape` fills (`title`, `body`, `ftr`, ...), or an empty string for none."""
    element = next(shape._element.iter("{*}ph"), None)
    return "" if element is None else element.get("type", "obj")


def _table(writer: Writer, table: Any) -> None:
    rows = [[_cell(table, r, c) for c in range(len(table.columns))] for r in range(len(table.rows))]
    writer.table(rows, header=bool(table.first_row))


def _cell(table: Any, row: int, column: int) -> str:
    """The words of a cell; a merged one has those of the first cell of its range."""
    cell = table.cell(row, column)
    while cell.is_spanned and (row or column):
        element = cell._tc
        row -= element.get("vMerge") in ("1", "true")
        column -= element.get("hMerge") in ("1", "true")
        cell = table.cell(row, column)
    return "\n".join(paragraphs(cell._tc))


def _chart(writer: Writer, chart: Any, name: str) -> None:
    if chart.has_title and chart.chart_title.has_text_frame:
        writer.paragraph(chart.chart_title.text_frame.text)
    plots = list(chart.plots)
    for plot in plots:
        try:
            series = list(plot.series)
        except NotImplementedError:  # A kind of which python-pptx has no word.
            plots = []
            continue
        columns = [[_value(v) for v in one.values] for one in series]
        labels = [" / ".join(map(str, flat)) for flat in plot.categories.flattened_labels]
        if not labels and (across := [[_value(v) for v in one.iter_values()] for one in series if _scatter(one)]):
            labels, columns = _points(series, across)
        longest = max(map(len, columns), default=0)
        labels += [str(n + 1) for n in range(len(labels), longest)]
        body = [[label, *(c[n] if n < len(c) else "" for c in columns)] for n, label in enumerate(labels)]
        writer.table([["", *(one.name or "" for one in series)], *body])
    if not plots:
        warn(f"{name}: charts of a kind that cannot be read, left out")


def _scatter(series: Any) -> bool:
    return series._element.find("{*}xVal") is not None


def _points(series: list[Any], heights: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """A row for each point of a scatter chart: its place across as label, its height in its series' column."""
    labels: list[str] = []
    columns: list[list[str]] = [[] for _ in series]
    for n, (one, values) in enumerate(zip(series, heights)):
        across = [v.text or "" for v in one._element.find("{*}xVal").iter("{*}v")]
        for column in columns:
            column += [""] * len(values)
        columns[n][len(labels) :] = values
        labels += [*across, *[""] * len(values)][: len(values)]
    return labels, columns


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def _diagram(writer: Writer, shape: Any, diagram: Any) -> None:
    """The points of SmartArt, as a list."""
    from fovea.pipelines.loaders.packed import xml

    part = shape.part.related_part(diagram.get(DIAGRAM_DATA))
    for point in xml(part.blob, needed_by="the loader 'pptx'").iter("{*}pt"):
        if words := " ".join(paragraphs(point)).strip():
            writer.item(words)


def _picture(writer: Writer, shape: Any, name: str) -> None:
    described = next(shape._element.iter("{*}cNvPr"), None)
    words = described.get("descr", "") if described is not None else ""
    writer.paragraph(words)
    if not words and shape._element.tag.endswith("}pic"):
        warn(f"{name}: pictures without alternative text, left out")
    elif not words and shape._element.tag.endswith("}graphicFrame"):
        warn(f"{name}: embedded objects, left out")
