"""E-books, chapter by chapter in the order of reading."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath
from typing import Any
from urllib.parse import unquote
from zipfile import ZipFile

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.packed import locked, member, package, xml
from fovea.pipelines.loaders.page_within import words_of_page
from fovea.rag.headings import first_heading
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

NEEDED_BY = "the loader 'epub'"
PAGES = ("application/xhtml+xml", "text/html")
OBFUSCATED_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")
"""The two ways of hiding fonts, which lock no words."""
_SHUT = re.compile(
    rb"<(?!area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr)([A-Za-z][\w:-]*)((?:\s[^<>]*)?)/>"
)
"""An element that XHTML closes where it opens, which web pages would leave open."""


class EpubLoader(FileLoader, name="epub"):
    """One Markdown document a book: the pages of its spine, as the loader of web pages reads them with its defaults.

    Title, author, language and year are the book's own. The page of contents is left out, as it repeats the headings.
    """

    suffixes = (".epub",)
    packages = {"lxml": "files"}
    format = "EPUB book"

    def read(self, path: Path) -> Iterator[Document]:
        """The book as one document."""
        with package(path, self) as archive:
            if _is_locked(archive):
                raise locked(path, self)
            container = xml(member(archive, "META-INF/container.xml", path, self), needed_by=NEEDED_BY)
            name = next((root.get("full-path", "") for root in container.iter("{*}rootfile")), "")
            book = xml(member(archive, name, path, self), needed_by=NEEDED_BY)
            text = "\n\n".join(chapter.strip("\n") for chapter in self._chapters(archive, book, name, path)) + "\n"
        if text.strip():
            metadata = _metadata(book)
            title = str(metadata.pop("title", "")) or first_heading(text)
            yield Document(path.as_posix(), text, path.as_posix(), title, "text/markdown", metadata)

    def _chapters(self, archive: ZipFile, book: Any, name: str, path: Path) -> Iterator[str]:
        items = {item.get("id"): item for item in book.iter("{*}item")}
        names = set(archive.namelist())
        for reference in book.iter("{*}itemref"):
            item = items.get(reference.get("idref"))
            if item is None or "nav" in item.get("properties", "").split():
                continue
            target = normpath(join(dirname(name), unquote(item.get("href", "").partition("#")[0])))
            if item.get("media-type") not in PAGES or target not in names:
                warn(f"{path.name}: pages that are missing or no text, left out")
            elif (words := words_of_page(_SHUT.sub(rb"<\1\2></\1>", archive.read(target)), path.name)).strip():
                yield words


def _is_locked(archive: ZipFile) -> bool:
    if "META-INF/encryption.xml" not in archive.namelist():
        return False
    root = xml(archive.read("META-INF/encryption.xml"), needed_by=NEEDED_BY)
    return any(
        method.get("Algorithm") not in OBFUSCATED_FONTS
        for data in root.iter("{*}EncryptedData")
        for method in data.iterchildren("{*}EncryptionMethod")
    )


def _metadata(book: Any) -> dict[str, Scalar]:
    def said(name: str) -> str:
        found = book.iter(f"{{http://purl.org/dc/elements/1.1/}}{name}")
        return ", ".join(" ".join(element.text.split()) for element in found if element.text)

    fields = {"title": said("title"), "author": said("creator"), "language": said("language")}
    year = said("date")[:4]
    return {key: words for key, words in fields.items() if words} | ({"year": int(year)} if year.isdigit() else {})
