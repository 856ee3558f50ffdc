"""What openpyxl's streaming reader leaves out of a sheet: merged ranges, hidden rows and columns, formulas without a
value, comments, and the words of drawn shapes."""

from __future__ import annotations

from dataclasses import dataclass, field
from posixpath import basename, dirname, join, normpath
from typing import Any
from zipfile import ZipFile

from fovea.pipelines.loaders.packed import xml
from fovea.rag.errors import require

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
NEEDED_BY = "the loader 'xlsx'"


@dataclass
class Extras:
    """Of one sheet; counted from 1, ranges are (first column, first row, last column, last row)."""

    merged: list[tuple[int, int, int, int]] = field(default_factory=list)
    hidden_rows: set[int] = field(default_factory=set)
    hidden_columns: set[int] = field(default_factory=set)
    formulas: dict[tuple[int, int], str] = field(default_factory=dict)
    """Formulas that no program has computed, by (row, column)."""
    comments: list[tuple[str, str, str]] = field(default_factory=list)
    """Cell, author, words."""
    shapes: list[str] = field(default_factory=list)
    width: int = 0
    """The last column that has a cell."""
    printed: bool = False
    """Whether the sheet has headers or footers for printing."""


def extras(archive: ZipFile, part: str) -> Extras:
    """Read the part of a sheet, in one pass and constant memory, and the parts that it points at."""
    found = Extras()
    etree = require("lxml.etree", extra="files", needed_by=NEEDED_BY)
    tags = [MAIN + name for name in ("row", "col", "c", "mergeCell", "oddHeader", "oddFooter")]
    with archive.open(part) as file:
        for _, element in etree.iterparse(file, tag=tags, resolve_entities=False, no_network=True, huge_tree=False):
            _note(found, element)
            if element.tag == MAIN + "row":
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    found.hidden_columns = {column for column in found.hidden_columns if column <= found.width}
    for kind, target in related(archive, part):
        if kind == "comments":
            found.comments += _comments(archive, target)
        elif kind == "drawing":
            found.shapes += _shapes(archive, target)
    return found


def related(archive: ZipFile, part: str) -> list[tuple[str, str]]:
    """The kind and name of every part that `part` points at and the archive has."""
    name = join(dirname(part), "_rels", basename(part) + ".rels")
    if name not in archive.namelist():
        return []
    root = xml(archive.read(name), needed_by=NEEDED_BY)
    found = [
        (rel.get("Type", "").rsplit("/", 1)[-1], normpath(join("/", dirname(part), rel.get("Target", ""))).lstrip("/"))
        for rel in root.iter("{*}Relationship")
    ]
    return [(kind, target) for kind, target in found if target in archive.namelist()]


def _note(found: Extras, element: Any) -> None:
    from openpyxl.utils.cell import column_index_from_string, coordinate_to_tuple, range_boundaries

    name = element.tag.removeprefix(MAIN)
    if name == "c":
        found.width = max(found.width, column_index_from_string(element.get("r", "A1").rstrip("0123456789")))
        formula, value = element.find(MAIN + "f"), element.find(MAIN + "v")
        if formula is not None and formula.text and (value is None or not value.text):
            found.formulas[coordinate_to_tuple(element.get("r"))] = formula.text
    elif name == "mergeCell":
        found.merged.append(range_boundaries(element.get("ref")))
    elif name in ("oddHeader", "oddFooter"):
        found.printed = found.printed or bool(element.text)
    elif element.get("hidden") in ("1", "true"):
        if name == "row" and element.get("r"):
            found.hidden_rows.add(int(element.get("r")))
        elif name == "col":
            last = min(int(element.get("max")), 1 << 14)
            found.hidden_columns.update(range(int(element.get("min")), last + 1))


def _comments(archive: ZipFile, part: str) -> list[tuple[str, str, str]]:
    root = xml(archive.read(part), needed_by=NEEDED_BY)
    authors = ["".join(author.itertext()) for author in root.iter("{*}author")]
    found = []
    for comment in root.iter("{*}comment"):
        words = "".join(t.text or "" for t in comment.iter("{*}t"))
        author = dict(enumerate(authors)).get(int(comment.get("authorId") or -1), "")
        if author.startswith("tc="):  # A thread, kept here for older programs behind a notice to their users.
            author, words = "", words.partition("Comment:")[2] or words
        found.append((comment.get("ref", ""), author, words.strip()))
    return found


def _shapes(archive: ZipFile, part: str) -> list[str]:
    root = xml(archive.read(part), needed_by=NEEDED_BY)
    lines = ("".join(t.text or "" for t in p.iter(f"{DRAWING}t")) for p in root.iter(f"{DRAWING}p"))
    return [words for words in lines if words.strip()]
