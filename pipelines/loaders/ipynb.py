"""Jupyter notebooks as Markdown: text as it is written, code in fences, and what the code printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.page_within import words_of_page
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.errors import DocumentError
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")


class IpynbLoader(FileLoader, name="ipynb"):
    """One Markdown document a notebook, cell by cell. Printed text, results and errors follow their cell in fences,
    results that are web pages alone as Markdown; pictures are left out, counted.
    """

    suffixes = (".ipynb",)
    format = "Jupyter notebook"

    outputs: bool = True
    """Whether what the code printed is read too; counted where it is left out."""

    def read(self, path: Path) -> Iterator[Document]:
        """The notebook as one document."""
        book = json.loads(path.read_text(encoding="utf-8-sig"))
        cells = _cells(book)
        if cells is None:
            raise DocumentError(
                "this is no notebook: it has no cells",
                where=path.as_posix(),
                fix="rename it to the suffix of what it is, or save it again in Jupyter",
            )
        language = _language(book)
        pieces = (piece.strip("\n") for cell in cells for piece in self._cell(cell, language, path.name))
        text = "\n\n".join(piece for piece in pieces if piece.strip()) + "\n"
        if text.strip():
            name, metadata = path.as_posix(), dict[str, Scalar]({"language": language} if language else {})
            yield Document(name, text, name, first_heading(text), "text/markdown", metadata)

    def _cell(self, cell: dict[str, Any], language: str, name: str) -> Iterator[str]:
        source = joined(cell.get("source", cell.get("input", "")))
        kind = cell.get("cell_type")
        warn(f"{name}: pictures, left out", len(cell.get("attachments") or {}))
        if kind == "markdown":
            yield closed(source)
        elif kind == "code":
            yield fenced(source, language)
            for output in cell.get("outputs") or []:
                yield from self._output(output, name)
        elif kind == "heading":  # Of notebooks before version 4.
            yield f"{'#' * int(cell.get('level', 1))} {' '.join(source.split())}"
        else:
            writer = Writer()
            writer.paragraph(source)
            yield writer.text

    def _output(self, output: dict[str, Any], name: str) -> Iterator[str]:
        if not self.outputs:
            warn(f"{name}: what code printed, left out (outputs: true reads it)")
            return
        if "traceback" in output:
            yield fenced("\n".join(output["traceback"]) or f"{output.get('ename')}: {output.get('evalue')}")
        elif "data" not in output:
            yield fenced(joined(output.get("text", "")))
        else:
            yield from _shown(output["data"], name)


def _shown(data: dict[str, Any], name: str) -> Iterator[str]:
    """One result, in the best of the forms it has; a picture's text form only names it (`<Figure ...>`)."""
    picture = any(kind.startswith(("image/", "video/", "audio/")) for kind in data)
    warn(f"{name}: pictures, left out", picture)
    if "text/markdown" in data:
        yield closed(joined(data["text/markdown"]))
    elif "text/plain" in data and not picture:
        yield fenced(joined(data["text/plain"]))
    elif "text/html" in data:
        yield words_of_page(joined(data["text/html"]).encode("utf-8-sig", "replace"), name)
    elif "text/latex" in data:
        yield fenced(joined(data["text/latex"]), "latex")
    else:
        warn(f"{name}: results in a form that is no text, left out", not picture)


def _cells(book: Any) -> list[dict[str, Any]] | None:
    if not isinstance(book, dict):
        return None
    sheets = book.get("worksheets")  # Of notebooks before version 4.
    found = [cell for sheet in sheets for cell in sheet["cells"]] if sheets else book.get("cells")
    return found if isinstance(found, list) and all(isinstance(cell, dict) for cell in found) else None


def _language(book: dict[str, Any]) -> str:
    about = book.get("metadata") or {}
    return str((about.get("language_info") or {}).get("name") or (about.get("kernelspec") or {}).get("language") or "")


def joined(lines: str | list[str]) -> str:
    """Notebooks keep text whole or as a list of lines."""
    return lines if isinstance(lines, str) else "".join(lines)


def fenced(text: str, language: str = "") -> str:
    """Text in a fence, without the colours of terminals."""
    writer = Writer()
    writer.code(_COLOURS.sub("", text), language)
    return writer.text


def closed(markdown: str) -> str:
    """A cell's Markdown; a fence that it leaves open is closed, so that it does not swallow the next cell."""
    fence = ""
    for line in markdown.splitlines():
        if found := _FENCE.match(line):
            if not fence:
                fence = found[1] if "`" not in found[2] or found[1][0] == "~" else ""
            elif found[1].startswith(fence) and not found[2].strip():
                fence = ""
    return f"{markdown.rstrip()}\n{fence}" if fence else markdown
