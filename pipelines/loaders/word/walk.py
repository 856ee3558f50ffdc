"""From the XML of a Word document to the blocks of a writer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from fovea.pipelines.loaders.numerals import roman
from fovea.pipelines.loaders.word.numbering import Numbering
from fovea.pipelines.loaders.word.package import Package, child, kind, value
from fovea.pipelines.loaders.word.runs import SKIPPED, Runs, chosen
from fovea.pipelines.loaders.word.styles import Styles, heading_level, left_indentation
from fovea.pipelines.loaders.writer import CellText, Writer

TOO_DEEP = 12
"""Levels of an item beyond which nobody indents."""
_DELETED = ("w:del", "w:moveFrom")


class Walk:
    """Walks the body once, in order: numbers and notes are counted as they come."""

    def __init__(self, package: Package) -> None:
        self.package = package
        self.styles = Styles(package.the("styles"))
        self.numbering = Numbering(package.the("numbering"), self.styles)
        self.out: Writer | CellText = Writer()
        self.left_out: Counter[str] = Counter()
        self.runs = self._runs()
        self._notes = {one: _by_id(package.the(f"{one}s")) for one in ("footnote", "endnote", "comment")}
        self._marks: dict[tuple[str, str], str] = {}
        self._counts: Counter[str] = Counter()
        self._waiting: list[tuple[str, Any]] = []
        self._code: list[str] = []
        self._edges: list[int] = []
        """Left edges of the items that the next one may stand below."""
        self._merged: tuple[str, Any] = ("", None)
        """Text of paragraphs whose mark was deleted, which runs on in the next, and the properties of the latest."""

    def text(self) -> str:
        """The whole document: its body with notes behind the blocks that name them, headers and footers at the end."""
        writer = self.out
        root = self.package.part(self.package.main)
        self._blocks(() if root is None else root)
        self._end_merged()
        self._end_block()
        for name in (*self._names("header"), *self._names("footer")):
            self._once(name, writer)
        assert isinstance(writer, Writer)
        return writer.text

    def _runs(self) -> Runs:
        return Runs(self._note, self._diagram, self.styles.font, self.left_out)

    def _names(self, kind_: str) -> Iterator[str]:
        yield from dict.fromkeys(self.package.related(self.package.main, kind_).values())

    def _blocks(self, element: Any) -> None:
        for one in element:
            name = kind(one)
            if name in ("w:p", "w:r"):
                self._paragraph(one)
            elif name == "w:tbl":
                self._table(one)
            elif name == "mc:AlternateContent":
                self._blocks(chosen(one))
            elif name == "w:altChunk":
                self.left_out["embedded files"] += 1
            elif name == "m:oMathPara":
                self._end_merged()
                self._running(self.runs.read(one))
            elif name not in SKIPPED and name not in _DELETED:
                self._blocks(one)

    def _paragraph(self, paragraph: Any) -> None:
        earlier, self._waiting = self._waiting, []
        text, boxes = self._merged[0] + self.runs.read(paragraph), self.runs.boxes
        named, self._waiting = self._waiting, earlier
        properties = child(paragraph, "w:pPr")
        marks = child(properties, "w:rPr")
        if child(marks, "w:del") is not None or child(marks, "w:moveFrom") is not None:
            self._merged = text, properties
        else:
            self._merged = "", None
            self._write(text, properties)
        self._waiting += named
        for box in boxes:
            outer = self.runs, self._merged
            self.runs, self._merged = self._runs(), ("", None)
            self._blocks(box)
            self._end_merged()
            self.runs, self._merged = outer

    def _end_merged(self) -> None:
        """What should run on in a paragraph that does not come stands for itself."""
        (text, properties), self._merged = self._merged, ("", None)
        if text.strip():
            self._write(text, properties)

    def _write(self, text: str, properties: Any) -> None:
        """One paragraph as what its properties make of it."""
        style = value(child(properties, "w:pStyle"))
        outline = child(properties, "w:outlineLvl")
        level = self.styles.level(style) if outline is None else heading_level(value(outline))
        if self.styles.is_code(style) and not level:
            self._code.append(text)
            return
        marker, depth = self._marker(properties, style, bool(text.strip()), bool(level))
        if not text.strip():
            return
        if level:
            self._end_block()
            self.out.heading(level, f"{marker} {text}" if marker != "-" else text)
        elif marker:
            self._end_code()
            self.out.item(text, marker=marker, depth=depth)
        else:
            self._running(text)

    def _running(self, text: str) -> None:
        if text.strip():
            self._end_block()
            self.out.paragraph(text.rstrip())

    def _marker(self, properties: Any, style: str, filled: bool, heading: bool) -> tuple[str, int]:
        """What stands before a paragraph of a list, and how deep it lies; "" and 0 for any other."""
        own = child(properties, "w:numPr")
        number, said, by = self.styles.numbered(style)
        if (direct := value(child(own, "w:numId"))) != "":
            number, by = direct, style
            said = None
        at = value(child(own, "w:ilvl"))
        level = self.numbering.level(number, int(at) if at.isdigit() else said, by)
        marker = self.numbering.marker(number, level) if number not in ("", "0") else ""
        if not marker and number != "0" and re.match(r"list bullet", self.styles.names(style)[0], re.IGNORECASE):
            marker = "-"
        if not marker or not filled or heading:
            return marker, 0
        edge = left_indentation(child(properties, "w:ind"))
        edge = self.numbering.indentation(number, level) if edge is None else edge
        edge = self.styles.indentation(style) if edge is None else edge
        return marker, self._depth(360 * (level + 1) if edge is None else edge)

    def _depth(self, edge: int) -> int:
        """How many of the items above, each further left than the next, this one stands below."""
        while self._edges and self._edges[-1] >= edge:
            self._edges.pop()
        self._edges.append(edge)
        return min(len(self._edges) - 1, TOO_DEEP)

    def _table(self, table: Any) -> None:
        self._end_merged()
        rows = list(_rows(table))
        if all(len(cells) <= 1 for _, cells in rows):  # A frame around blocks.
            for _, cells in rows:
                for cell in cells:
                    self._blocks(cell)
                    self._end_merged()
            return
        self._end_block()
        above: dict[int, str] = {}
        lines = [self._row(row, cells, above) for row, cells in rows]
        self.out.table(lines)
        self._end_block()

    def _row(self, row: Any, cells: list[Any], above: dict[int, str]) -> list[str]:
        """The texts of a row, one a column; `above` holds cells that are merged downwards, by their first column."""
        before = value(child(row, "w:trPr", "w:gridBefore"), default="0")
        line = [""] * (int(before) if before.isdigit() else 0)
        for cell in cells:
            properties, at, text = child(cell, "w:tcPr"), len(line), self._cell(cell)
            merge = child(properties, "w:vMerge")
            if merge is not None and value(merge) != "restart":
                text = text or above.get(at, "")
            above[at] = text
            span = value(child(properties, "w:gridSpan"), default="1")
            line += [text, *[""] * (min(int(span), 64) - 1 if span.isdigit() else 0)]
        return line

    def _cell(self, cell: Any) -> str:
        """The blocks of a cell, or of a note, on one line."""
        saved = self.out, self.runs, self._code, self._edges, self._waiting
        self.out, self.runs, self._code, self._edges, self._waiting = CellText(), self._runs(), [], [], []
        self._blocks(cell)
        self._end_merged()
        self._end_code()
        text, waiting = self.out.text, self._waiting
        self.out, self.runs, self._code, self._edges, self._waiting = saved
        self._waiting += waiting
        return text

    def _end_code(self) -> None:
        if self._code:
            code, self._code = "\n".join(self._code), []
            self.out.code(code)

    def _end_block(self) -> None:
        """What has to be written before a block that goes on no list: code so far, and notes."""
        self._end_code()
        self._edges = []
        while self._waiting and isinstance(self.out, Writer):
            mark, note = self._waiting.pop(0)
            if words := self._cell(note):
                author = value(note, "author") if kind(note) == "w:comment" else ""
                self.out.paragraph(f"{mark}: {author}: {words}" if author else f"{mark}: {words}")

    def _note(self, kind_: str, name: str) -> str:
        """The mark of a note, which is written behind the block that names it first."""
        if (kind_, name) in self._marks:
            return self._marks[kind_, name]
        self._counts[kind_] += 1
        count = self._counts[kind_]
        written = {"footnote": str(count), "endnote": roman(count), "comment": f"c{count}"}[kind_]
        note = self._notes[kind_].get(name)
        mark = self._marks[kind_, name] = f"[^{written}]"
        if note is not None:
            self._waiting.append((mark, note))
        return mark

    def _diagram(self, relation: str) -> str:
        """The words of a drawing of boxes and arrows (SmartArt)."""
        part = self.package.related(self.package.main, "diagramData").get(relation)
        root = self.package.part(part) if part else None
        words = [] if root is None else [one.text or "" for one in root.iter() if kind(one) == "a:t"]
        return "; ".join(filter(None, (one.strip() for one in words)))

    def _once(self, name: str, writer: Any) -> None:
        """A header or footer, unless it only repeats another one, or holds no words."""
        root = self.package.part(name)
        text = self._cell(root) if root is not None else ""
        key = re.sub(r"\d+", "0", text)
        if any(one.isalpha() for one in text) and ("once", key) not in self._marks:
            self._marks["once", key] = text
            writer.paragraph(text)


def _rows(element: Any) -> Iterator[tuple[Any, list[Any]]]:
    """Rows of a table with their cells, whatever wraps either; without those that were deleted."""
    for row in _within(element, "w:tr"):
        properties = child(row, "w:trPr")
        if child(properties, "w:del") is None:
            yield row, [cell for cell in _within(row, "w:tc") if child(cell, "w:tcPr", "w:cellDel") is None]


def _within(element: Any, name: str) -> Iterator[Any]:
    for one in element:
        found = kind(one)
        if found == name:
            yield one
        elif found not in SKIPPED and found not in _DELETED:
            yield from _within(one, name)


def _by_id(root: Any) -> dict[str, Any]:
    return {} if root is None else {value(one, "id"): one for one in root}
