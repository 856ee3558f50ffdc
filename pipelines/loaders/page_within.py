"""A web page inside a file of another format (a message, a book), as the loader of web pages reads it."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from fovea.pipelines.loaders.html import HtmlLoader
from fovea.rag.errors import DocumentError
from fovea.rag.trace import warn

EMPTY = ("holds no text", "the file is empty")


def words_of_page(data: bytes, name: str) -> str:
    """The page's Markdown, ended by one newline, or nothing for a page without words. One that cannot be read is
    counted; `name` is that of the file around it."""
    with TemporaryDirectory(prefix="fovea-") as folder:
        (path := Path(folder) / "page.html").write_bytes(data)
        try:
            return "\n\n".join(document.text.strip("\n") for document in HtmlLoader().load(path)) + "\n"
        except DocumentError as error:
            if error.what not in EMPTY:
                warn(f"{name}: pages within it that cannot be read, left out: {error.what}")
            return ""
