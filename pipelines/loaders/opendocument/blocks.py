"""Blocks of OpenDocument XML, written: headings, paragraphs, lists, tables, frames."""

from __future__ import annotations

from typing import Any

from fovea.pipelines.loaders.opendocument.cells import grid
from fovea.pipelines.loaders.opendocument.numbers import Numbering, numberings
from fovea.pipelines.loaders.opendocument.words import DRAW, OFFICE, STYLE, SVG, TABLE, TEXT, Words, words
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.trace import warn

CONTAINERS = (
    f"{TEXT}section", f"{TEXT}note-body", f"{TEXT}numbered-paragraph", f"{OFFICE}text", f"{DRAW}text-box", f"{DRAW}g",
    f"{DRAW}custom-shape", f"{DRAW}rect", f"{DRAW}ellipse", f"{DRAW}frame", f"{DRAW}a", f"{DRAW}line",
    f"{DRAW}connector", f"{TABLE}shapes",
)  # fmt: skip
INDEXES = ("table-of-content", "alphabetical-index", "illustration-index", "table-index", "user-index")


class Blocks:
    """Writes the blocks of one file; `roots` are its XML parts that hold styles, `name` is for warnings."""

    def __init__(self, writer: Writer, roots: list[Any], name: str) -> None:
        self.writer, self.name = writer, name
        self.numbers = numberings(*roots)
        self.titles = {"Title"} | {
            style.get(f"{STYLE}name")
            for root in roots
            for style in root.iter(f"{STYLE}style")
            if style.get(f"{STYLE}parent-style-name") == "Title"
        }

    def write(self, parent: Any) -> None:
        """Write every block below `parent` in its order."""
        for element in parent:
            if isinstance(element.tag, str):
                self.block(element)

    def block(self, element: Any) -> None:
        """Write one block, whatever it is."""
        tag = element.tag
        if tag == f"{TEXT}h":
            self._heading(element)
        elif tag == f"{TEXT}p":
            found = words(element)
            if element.get(f"{TEXT}style-name") in self.titles:
                self.writer.heading(1, found.text)
            else:
                self.writer.paragraph(found.text)
            self._hanging(found)
        elif tag == f"{TEXT}list":
            self._list(element, 1, "")
        elif tag == f"{TABLE}table":
            self.writer.table([[cell.text for cell in row] for row in grid(element)])
        elif tag in CONTAINERS:
            self.write(element)
        else:
            self._left_out(element)

    def _heading(self, element: Any) -> None:
        level, found = int(element.get(f"{TEXT}outline-level", "1")), words(element)
        plain = element.get(f"{TEXT}is-list-header") == "true"
        outline = self.numbers.get("")
        number = outline.next(level, element.get(f"{TEXT}start-value")) if outline and not plain else ""
        self.writer.heading(level, f"{number} {found.text}" if found.text.strip() else "")
        self._hanging(found)

    def _hanging(self, found: Words) -> None:
        for mark, note in found.notes:
            self.writer.paragraph(f"[^{mark}]: {note}")
        for comment in found.comments:
            self.writer.paragraph(f"Comment: {comment}")
        for frame in found.frames:
            self.block(frame)

    def _list(self, element: Any, depth: int, style: str) -> None:
        style = element.get(f"{TEXT}style-name", style)
        numbers = self.numbers.get(style, Numbering({}))
        goes_on = element.get(f"{TEXT}continue-numbering") == "true" or element.get(f"{TEXT}continue-list")
        if depth == 1 and not goes_on:
            numbers.restart()
        for item in element:
            if item.tag == f"{TEXT}list-header":
                self.write(item)
            elif isinstance(item.tag, str):
                self._item(item, numbers, depth, style)

    def _item(self, item: Any, numbers: Numbering, depth: int, style: str) -> None:
        blocks = [block for block in item if isinstance(block.tag, str)]
        lines = [words(block) for block in blocks if block.tag == f"{TEXT}p"]
        heads = any(block.tag == f"{TEXT}h" for block in blocks)  # Numbered headings stand in lists of one item.
        said = "\n".join(line.text for line in lines if line.text.strip())
        if said and not heads:
            self.writer.item(said, marker=numbers.next(depth, item.get(f"{TEXT}start-value")) or "-", depth=depth - 1)
        for line in lines:
            self._hanging(line)
        for block in blocks:
            if block.tag == f"{TEXT}list":
                self._list(block, depth + 1, style)
            elif block.tag != f"{TEXT}p" or heads:
                self.block(block)

    def _left_out(self, element: Any) -> None:
        kind = element.tag
        if kind == f"{TEXT}tracked-changes":
            deleted = sum(1 for _ in element.iter(f"{TEXT}deletion"))
            warn(f"{self.name}: deleted passages of tracked changes, left out", deleted)
        elif kind.removeprefix(TEXT) in INDEXES:
            warn(f"{self.name}: tables of contents and indexes, left out as they repeat the text")
        elif kind in (f"{DRAW}object", f"{DRAW}object-ole"):
            warn(f"{self.name}: embedded objects (charts, formulas), left out")
        elif kind == f"{DRAW}image":
            said = [t.text for t in element.getparent().iter(f"{SVG}title", f"{SVG}desc") if t.text]
            self.writer.paragraph("\n".join(said))
            warn(f"{self.name}: pictures without a description, left out", not said)
        else:
            self.write(element)  # A wrapper nobody has heard of loses no text.
