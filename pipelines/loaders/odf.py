"""OpenDocument texts, spreadsheets and presentations as Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.opendocument.blocks import Blocks
from fovea.pipelines.loaders.opendocument.cells import grid
from fovea.pipelines.loaders.opendocument.raised import mark_raised
from fovea.pipelines.loaders.opendocument.words import DRAW, OFFICE, PRESENTATION, STYLE, SVG, TABLE, plain
from fovea.pipelines.loaders.packed import locked, member, package, xml
from fovea.pipelines.loaders.sheets.grid import write_sheet
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

NEEDED_BY = "the loader 'odf'"
INCHES = {"cm": 1 / 2.54, "mm": 1 / 25.4, "in": 1.0, "pt": 1 / 72, "pc": 1 / 6, "px": 1 / 96}


class OdfLoader(FileLoader, name="odf"):
    """One document a file. Texts: headings and items with the numbers they show, notes and comments where they hang.
    Spreadsheets: a heading a sheet, cells as the program that saved them showed them. Presentations: a page and a
    heading a slide, frames in order of their place, notes behind.

    Deleted passages, headers and footers, indexes, pictures without a description, and embedded objects are left out,
    counted.
    """

    suffixes = (".odt", ".ott", ".ods", ".ots", ".odp", ".otp", ".odg", ".fodt", ".fods", ".fodp")
    packages = {"lxml": "files"}
    format = "OpenDocument file"

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        roots = self._roots(path)
        mark_raised(roots)
        writer = Writer()
        blocks = Blocks(writer, roots, path.name)
        body = next(chain.from_iterable(root.iter(f"{OFFICE}body") for root in roots), None)
        for part in [] if body is None else body:
            _part(part, blocks, writer)
        heads = sum(bool(plain(e)) for root in roots for e in root.iter(f"{STYLE}header", f"{STYLE}footer"))
        warn(f"{path.name}: headers and footers of pages, left out", heads)
        if writer.text.strip():
            metadata = _metadata(roots)
            name, title = path.as_posix(), str(metadata.pop("title", "")) or first_heading(writer.text)
            yield Document(name, writer.text, name, title, "text/markdown", metadata, writer.pages)

    def _roots(self, path: Path) -> list[Any]:
        """The content, the styles and the metadata; a flat file has all in one."""
        if path.suffix.lower().startswith(".f"):
            return [xml(path.read_bytes(), needed_by=NEEDED_BY)]
        with package(path, self) as archive:
            names = archive.namelist()
            if "META-INF/manifest.xml" in names and b"encryption-data" in archive.read("META-INF/manifest.xml"):
                raise locked(path, self)
            content = member(archive, "content.xml", path, self)
            others = [archive.read(name) for name in ("styles.xml", "meta.xml") if name in names]
            return [xml(data, needed_by=NEEDED_BY) for data in (content, *others)]


def _part(part: Any, blocks: Blocks, writer: Writer) -> None:
    if part.tag == f"{OFFICE}spreadsheet":
        for sheet in part.iterchildren(f"{TABLE}table"):
            _sheet(sheet, blocks, writer)
    elif part.tag in (f"{OFFICE}presentation", f"{OFFICE}drawing"):
        for page in part.iterchildren(f"{DRAW}page"):
            _slide(page, blocks, writer)
    elif isinstance(part.tag, str):
        blocks.write(part)


def _sheet(sheet: Any, blocks: Blocks, writer: Writer) -> None:
    rows = grid(sheet)
    first = next((row for row in rows if row), [])
    drawn, comments = sheet.find(f"{TABLE}shapes"), list(sheet.iter(f"{OFFICE}annotation"))
    if not first and drawn is None:
        return
    hidden = sum(row.get(f"{TABLE}visibility") in ("collapse", "filter") for row in sheet.iter(f"{TABLE}table-row"))
    warn(f"{blocks.name}: hidden rows, read too", hidden)
    writer.heading(1, sheet.get(f"{TABLE}name", ""))
    write_sheet(writer, chain([first], rows))
    if drawn is not None:
        blocks.write(drawn)
    for comment in comments:
        writer.item(f"Comment on {plain(comment.getparent())!r}: {plain(comment)}")


def _slide(page: Any, blocks: Blocks, writer: Writer) -> None:
    writer.page()
    shapes = sorted((shape for shape in page if shape.tag != f"{PRESENTATION}notes"), key=_place)
    for shape in shapes:
        if shape.get(f"{PRESENTATION}class") == "title":
            writer.heading(1, plain(shape))
        elif isinstance(shape.tag, str):
            blocks.block(shape)
    for notes in page.iterchildren(f"{PRESENTATION}notes"):
        frames = (f for f in notes.iter(f"{DRAW}frame") if f.get(f"{PRESENTATION}class") == "notes")
        if said := "\n".join(map(plain, frames)):
            writer.paragraph(f"Notes: {said}")


def _place(shape: Any) -> tuple[bool, float, float]:
    """Where a shape lies: its title first, then from the top and from the left."""
    title = shape.get(f"{PRESENTATION}class") == "title"
    return not title, _inches(shape.get(f"{SVG}y")), _inches(shape.get(f"{SVG}x"))


def _inches(length: str | None) -> float:
    number, unit = (length or "")[:-2], (length or "")[-2:]
    try:
        return round(float(number) * INCHES.get(unit, 1.0), 1)
    except ValueError:
        return float("inf")


def _metadata(roots: list[Any]) -> dict[str, Scalar]:
    fields = {"title": "{*}title", "author": "{*}initial-creator", "year": "{*}creation-date"}
    said = {key: _first(roots, tag) for key, tag in fields.items()}
    said["author"] = said["author"] or _first(roots, "{*}creator")
    year = said.pop("year")[:4]
    return {key: words for key, words in said.items() if words} | ({"year": int(year)} if year.isdigit() else {})


def _first(roots: list[Any], tag: str) -> str:
    metas = (meta for root in roots for meta in root.iter(f"{OFFICE}meta"))
    return next((" ".join(e.text.split()) for meta in metas for e in meta.iter(tag) if e.text), "")
