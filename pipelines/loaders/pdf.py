"""PDF, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

if TYPE_CHECKING:
    from pypdf import PdfReader


class PdfLoader(FileLoader, name="pdf"):
    """One document per file; `Document.pages` holds where each page starts, and each page ends in a newline.

    Words broken over two lines stay broken, since no rule tells a hyphen of the word from one of the line. Pages
    without text (scans) are counted as warnings; a file with none at all is refused.
    """

    suffixes = (".pdf",)
    packages = {"pypdf": "files"}
    format = "PDF"

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        pypdf = require("pypdf", extra="files", needed_by="the loader 'pdf'")
        with path.open("rb") as file:
            reader = _open(file, path, pypdf)
            pages, text = join(_texts(reader, path))
            metadata = _metadata(reader)
        if not text.strip():
            raise DocumentError(
                f"its {len(pages)} pages hold no text" if pages else "it has no pages",
                where=path.as_posix(),
                fix="run OCR over it first (ocrmypdf in.pdf out.pdf), if its pages are pictures of text"
                if pages
                else "export it again from the program it comes from",
            )
        name = path.as_posix()
        title = str(metadata.pop("title", ""))
        yield Document(name, text, name, title, "application/pdf", metadata, pages)


def join(texts: Iterator[str]) -> tuple[tuple[int, ...], str]:
    """The offset at which each page starts, and all pages in one text, each ended by a newline."""
    parts, starts, at = [], [], 0
    for text in texts:
        starts.append(at)
        parts.append(text if text.endswith("\n") else text + "\n")
        at += len(parts[-1])
    return tuple(starts), "".join(parts)


def _open(file: BinaryIO, path: Path, pypdf: Any) -> PdfReader:
    """Many files are encrypted with an empty password, only to forbid printing: those open here."""
    try:
        reader: PdfReader = pypdf.PdfReader(file, strict=False)
        opened = not reader.is_encrypted or reader.decrypt("")
    except pypdf.errors.DependencyError as error:
        raise DocumentError(
            "encrypted with AES, which needs the package 'cryptography'",
            where=path.as_posix(),
            fix='pip install "pypdf[crypto]"',
        ) from error
    if not opened:
        raise DocumentError(
            "encrypted: it opens only with a password",
            where=path.as_posix(),
            fix="save a copy without the password (qpdf --password=... --decrypt in.pdf out.pdf) and ingest that",
        )
    return reader


def _texts(reader: PdfReader, path: Path) -> Iterator[str]:
    for number in range(len(reader.pages)):
        try:
            text = reader.pages[number].extract_text()
        except Exception as error:  # One damaged page does not take the others with it.
            warn(f"{path.name}: page {number + 1} cannot be read ({type(error).__name__}: {error})")
            text = ""
        else:
            if not text.strip():
                warn(f"{path.name}: pages without text, perhaps scans: run OCR over them (ocrmypdf)")
        yield text


def _metadata(reader: PdfReader) -> dict[str, Scalar]:
    """Title, author and year, as far as the file states them readably."""
    kept: dict[str, Scalar] = {"pages": len(reader.pages)}
    try:
        info = reader.metadata
        fields = {"title": info.title, "author": info.author, "year": _year(info)} if info else {}
    except Exception as error:  # Metadata are a courtesy: a broken field costs itself, not the document.
        warn(f"the metadata of a PDF cannot be read ({type(error).__name__})")
        fields = {}
    kept |= {key: value for key, value in fields.items() if isinstance(value, (str, int)) and value}
    return kept


def _year(info: Any) -> int | None:
    try:
        return info.creation_date.year if info.creation_date else None
    except ValueError:  # Dates are written by hand often enough.
        return None
