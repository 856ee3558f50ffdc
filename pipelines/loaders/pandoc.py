"""Formats that Pandoc reads, as Markdown: RTF, FictionBook, DocBook, wikis."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import PositiveFloat

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.pandoc_tree.blocks import Blocks
from fovea.pipelines.loaders.pandoc_tree.inlines import words
from fovea.pipelines.loaders.pandoc_tree.process import tree
from fovea.pipelines.loaders.pandoc_tree.rtf import single_units, unicode_escapes
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.component import SpeedOnly
from fovea.rag.errors import DocumentError
from fovea.rag.headings import first_heading
from fovea.rag.types import Document, Scalar

FORMATS = {
    ".rtf": "rtf", ".fb2": "fb2", ".dbk": "docbook", ".docbook": "docbook", ".textile": "textile",
    ".mediawiki": "mediawiki", ".opml": "opml",
}  # fmt: skip


class PandocLoader(FileLoader, name="pandoc"):
    """One Markdown document a file, out of Pandoc's tree of it: headings, lists with their numbers, tables, notes.

    Pandoc runs as a process of its own, in its sandbox. Markup that is read character for character by default
    (.rst, .adoc, .org, .tex) is not its business.
    """

    suffixes = tuple(FORMATS)
    packages = {"pypandoc": "pandoc"}
    format = "a format of Pandoc's"

    seconds: SpeedOnly[PositiveFloat] = 60.0
    """How long Pandoc may take over one file."""

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        form = FORMATS.get(path.suffix.lower(), "rtf")
        data, letters = _rtf(path) if form == "rtf" else (path.read_bytes(), {})
        found = tree(data, form, path, self.seconds)
        writer = Writer()
        Blocks(writer, path.name).write(found["blocks"])
        text = writer.text.translate(letters)
        if text.strip():
            said = {key: _said(found["meta"].get(key)).translate(letters) for key in ("title", "author")}
            name, title = path.as_posix(), said["title"] or first_heading(text)
            metadata: dict[str, Scalar] = {"author": said["author"]} if said["author"] else {}
            yield Document(name, text, name, title, "text/markdown", metadata)


def _rtf(path: Path) -> tuple[bytes, dict[int, str]]:
    """The file with its letters in the one form that Pandoc reads right, and what to put back into the text."""
    data = path.read_bytes()
    if not data.lstrip().startswith(b"{\\rtf"):
        raise DocumentError(
            "this is no RTF", where=path.as_posix(), fix="rename it to the suffix of what it is, or save it again"
        )
    return single_units(unicode_escapes(data))


def _said(meta: Any) -> str:
    """A value of Pandoc's metadata as one line."""
    if meta is None:
        return ""
    if meta["t"] == "MetaList":
        return ", ".join(filter(None, map(_said, meta["c"])))
    if meta["t"] == "MetaInlines":
        return " ".join(words(meta["c"], []).split())
    return " ".join(meta["c"].split()) if meta["t"] == "MetaString" else ""
