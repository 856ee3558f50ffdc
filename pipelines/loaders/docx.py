"""Word documents as Markdown: headings, lists and tables in the order of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.rag.errors import DocumentError, require
from fovea.rag.headings import first_heading
from fovea.rag.types import Document, Scalar

if TYPE_CHECKING:
    from docx.document import Document as WordDocument
    from docx.table import Table
    from docx.text.paragraph import Paragraph

OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""How files of Word before 2007 begin, and those that are protected by a password."""


class DocxLoader(FileLoader, name="docx"):
    """One Markdown document per file; positions are those of that Markdown.

    Styles decide: `Title` and `Heading n` become `#` headings, `List` paragraphs become items, tables become pipe
    tables. Text outside the body (headers, footers, notes, text boxes) is not read.
    """

    suffixes = (".docx", ".docm")
    packages = {"docx": "files"}
    format = "Word document"

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        docx = require("docx", extra="files", needed_by="the loader 'docx'")
        self._check_archive(path)
        with path.open("rb") as file:
            word = docx.Document(file)
        text = to_markdown(word)
        if text.strip():
            metadata = _metadata(word)
            name, title = path.as_posix(), str(metadata.pop("title", ""))
            yield Document(name, text, name, title or first_heading(text), "text/markdown", metadata)

    def _check_archive(self, path: Path) -> None:
        """Refuse what is no archive, and what would unpack to far more than the size limit."""
        with path.open("rb") as file:
            if file.read(len(OLE)) == OLE:
                raise DocumentError(
                    "this is a Word document of before 2007, or protected by a password",
                    where=path.as_posix(),
                    fix="save it as .docx without a password",
                )
        try:
            with ZipFile(path) as archive:
                size = sum(i.file_size for i in archive.infolist() if i.filename.endswith((".xml", ".rels")))
        except BadZipFile as error:
            raise DocumentError(
                f"cannot be read as Word document: it is damaged or cut off ({error})",
                where=path.as_posix(),
                fix="copy it again from where it comes from, or save it again in Word",
            ) from error
        if size > self.max_bytes:
            raise DocumentError(
                f"unpacked, its text takes {size:,} bytes, more than the limit of {self.max_bytes:,}",
                where=path.as_posix(),
                fix=f"split it, or raise the limit in the pipeline: load: [{{use: docx, max_bytes: {size}}}]",
            )


def to_markdown(word: WordDocument) -> str:
    """Paragraphs and tables of the body; items of one list follow each other, all else is parted by a blank line."""
    from docx.text.paragraph import Paragraph

    parts: list[str] = []
    listing = False
    for block in word.iter_inner_content():
        text, item = _paragraph(block) if isinstance(block, Paragraph) else (_table(block), False)
        if text:
            parts += ["\n" if item and listing else "\n\n", text]
            listing = item
    return "".join(parts[1:]) + "\n" if parts else ""


def _paragraph(paragraph: Paragraph) -> tuple[str, bool]:
    """The paragraph as Markdown, and whether it is an item of a list."""
    text = paragraph.text.strip()
    style = str(paragraph.style.name or "") if paragraph.style is not None else ""
    if not text:
        return "", False
    if style == "Title":
        return f"# {_line(text)}", False
    if found := re.fullmatch(r"Heading (\d)", style):
        return f"{'#' * min(int(found[1]), 6)} {_line(text)}", False
    if style.startswith("List"):
        return f"{'1.' if 'Number' in style else '-'} {text}", True
    return text, False


def _table(table: Table) -> str:
    rows = [[_line(cell.text).replace("|", "\\|") for cell in row.cells] for row in table.rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return ""
    width = max(map(len, rows))
    lines = [f"| {' | '.join(row + [''] * (width - len(row)))} |" for row in rows]
    return "\n".join([lines[0], f"|{' --- |' * width}", *lines[1:]])


def _line(text: str) -> str:
    return " ".join(text.split())


def _metadata(word: WordDocument) -> dict[str, Scalar]:
    core = word.core_properties
    year = core.created.year if core.created else 0
    return {key: value for key, value in (("title", core.title), ("author", core.author), ("year", year)) if value}
