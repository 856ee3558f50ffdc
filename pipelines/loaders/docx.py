"""Word documents as Markdown: headings, lists with their numbers, tables and notes in the order of the document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, ZipFile

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.rag.errors import DocumentError, require
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

if TYPE_CHECKING:
    from fovea.pipelines.loaders.word.package import Package

OLE = bytes.fromhex("d0cf11e0a1b11ae1")
"""How files of Word before 2007 begin, and those that are protected by a password."""


class DocxLoader(FileLoader, name="docx"):
    """One Markdown document per file; positions are those of that Markdown.

    The text is what Word shows with all changes accepted. Styles and outline levels make headings, lists have the
    numbers that Word counts (`2.2`, `(a)`), tables become pipe tables. Footnotes, endnotes and comments follow the
    block that names them, text boxes their paragraph; headers and footers stand once at the end. Deleted and hidden
    text, charts, embedded files and pictures without a description are left out, and counted in a warning.
    """

    suffixes = (".docx", ".docm", ".dotx", ".dotm")
    packages = {"lxml": "files"}
    format = "Word document"
    version = 2

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        require("lxml", extra="files", needed_by="the loader 'docx'")
        from fovea.pipelines.loaders.word.package import Package
        from fovea.pipelines.loaders.word.walk import Walk

        self._check_archive(path)
        with ZipFile(path) as archive:
            package = Package(archive, self.max_bytes, path.as_posix())
            walk = Walk(package)
            text, metadata = walk.text(), _metadata(package)
        for kind, times in sorted(walk.left_out.items()):
            warn(f"{path.name}: {kind} left out", times)
        if text.strip():
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


def _metadata(package: Package) -> dict[str, Scalar]:
    """Title, author and year of the document's core properties."""
    name = next(iter(package.related("", "core-properties").values()), "docProps/core.xml")
    root = package.part(name)
    core = {} if root is None else {one.tag.rpartition("}")[2]: (one.text or "").strip() for one in root}
    year = re.match(r"\d{4}", core.get("created", ""))
    found = {"title": core.get("title", ""), "author": core.get("creator", ""), "year": int(year[0]) if year else 0}
    return {key: value for key, value in found.items() if value}
