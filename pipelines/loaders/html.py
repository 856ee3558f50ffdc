"""HTML as Markdown: headings, lists, tables and code survive as structure a segmenter can see."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from fovea.pipelines.loaders.decode import MARKS, Decoding, Encoding, decoding, first_fault, known
from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.rag.component import SpeedOnly
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import current, warn
from fovea.rag.types import Document, Scalar

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

    from fovea.pipelines.loaders.web.walk import Walk

CHARSET = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w.:-]+)|<\?xml[^>]{0,100}encoding=[\"']([\w.:-]+)", re.I
)
XML_DECLARATION = re.compile(r"\s*<\?xml\b[^>]*>")
BY_DESIGN = ("navigation", "buttons")
"""What is left out of every page, and is no text of it."""


class HtmlLoader(FileLoader, name="html"):
    """One Markdown document per page; positions are those of that Markdown.

    Links keep their words, pictures their alternative text, forms what was filled in, formulas and fractions are
    written on one line (`1/2`, `10^6`). Scripts, styles, navigation and buttons outside the text are left out by design
    and counted in the trace; hidden elements, drawings and embedded pages are counted in a warning. The encoding is a
    byte-order mark's, the page's own declaration where it fits, or found as for text.
    """

    suffixes = (".html", ".htm", ".xhtml")
    packages = {"bs4": "files", "lxml": "files"}
    format = "HTML"
    version = 2

    max_bytes: SpeedOnly[PositiveInt] = 16_000_000
    """Refuse larger files, in bytes: the tree of a page takes many times its size in memory."""

    drop: tuple[str, ...] = ()
    """CSS selectors of more elements to leave out, such as `.sidebar`."""

    encoding: Encoding = None
    """The files' encoding; by default found per file."""

    def read(self, path: Path) -> Iterator[Document]:
        """The page as one document."""
        found = decoding(path, self.encoding) if self.encoding else declared(path) or decoding(path)
        soup = parse(path.read_text(encoding=found.codec, errors=found.errors))
        title, metadata = _title(soup), _metadata(soup)
        self._drop(soup, path)
        walk = walk_of(soup)
        for kind, times in sorted(walk.left_out.items()):
            if kind in BY_DESIGN:
                current().count(**{f"{kind} left out": times})
            else:
                warn(f"{path.name}: {kind} left out", times)
        if text := walk.writer.text.rstrip("\n"):
            name = path.as_posix()
            yield Document(name, text, name, title, "text/markdown", metadata)

    def _drop(self, soup: BeautifulSoup, path: Path) -> None:
        try:
            unread = soup.select(", ".join(self.drop)) if self.drop else []
        except Exception as error:
            raise DocumentError(
                f"the html loader's `drop` holds an invalid CSS selector: {str(error).splitlines()[0]}",
                where=path.as_posix(),
                fix="mend it in the pipeline: load: [{use: html, drop: [...]}]",
            ) from error
        for element in unread:
            element.extract()


def parse(text: str) -> BeautifulSoup:
    """The tree of a page, mended as browsers do: `lxml` closes the `<p>`, `<li>` and `<td>` that authors leave open.

    XHTML is read so too; its XML declaration, which says nothing of a decoded text, is left out first.
    """
    bs4 = require("bs4", extra="files", needed_by="the loader 'html'")
    require("lxml", extra="files", needed_by="the loader 'html'")
    declaration = XML_DECLARATION.match(text)
    return bs4.BeautifulSoup(text[declaration.end() :] if declaration else text, "lxml")


def walk_of(tree: Tag) -> Walk:
    """The walk that has read a tree: its writer, and what it left out."""
    from fovea.pipelines.loaders.web.walk import Walk

    walk = Walk()
    walk.read(tree)
    return walk


def declared(path: Path) -> Decoding | None:
    """The encoding a page declares in its first 2,048 bytes, if Python knows it and every byte fits."""
    with path.open("rb") as file:
        head = file.read(2048)
    found = CHARSET.search(head)
    if not found or head.startswith(tuple(MARKS)):
        return None
    try:
        codec = codecs.lookup(known((found[1] or found[2]).decode("ascii")) or "").name
    except (ValueError, LookupError):
        return None
    if codec.startswith(("utf-16", "utf-32")):  # A declaration that could be read as ASCII is no UTF-16.
        return None
    if codec in {"iso8859-1", "ascii"}:  # As browsers read them.
        codec = "cp1252"
    return Decoding(codec) if codec != "utf-8" and first_fault(path, codec) is None else None


def _title(soup: BeautifulSoup) -> str:
    found = soup.title or soup.h1
    return " ".join(found.get_text(" ").split()) if found else ""


def _metadata(soup: BeautifulSoup) -> dict[str, Scalar]:
    kept: dict[str, Scalar] = {}
    for tag in soup.find_all("meta", attrs={"name": ["author", "description", "date", "keywords"], "content": True}):
        kept.setdefault(str(tag["name"]).lower(), str(tag["content"]).strip())
    if soup.html and soup.html.get("lang"):
        kept["language"] = str(soup.html["lang"])
    return kept
