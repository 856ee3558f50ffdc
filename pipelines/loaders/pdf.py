"""PDF, page by page, as pdfium reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from fovea.pipelines.loaders.file_loader import FileLoader
from fovea.pipelines.loaders.pages.fields import annotated
from fovea.pipelines.loaders.pages.grid import grids, with_tables
from fovea.pipelines.loaders.pages.hyphens import whole_words
from fovea.pipelines.loaders.pages.labels import label_ranges
from fovea.pipelines.loaders.pages.layout import page_text
from fovea.pipelines.loaders.pages.pdfium import LOCK, rules, words
from fovea.pipelines.loaders.pages.piece import Piece, joined, rows
from fovea.pipelines.loaders.pages.unread import leaves_out, says_more, text_by_pypdf
from fovea.rag.component import SpeedOnly
from fovea.rag.errors import DocumentError, require
from fovea.rag.trace import warn
from fovea.rag.types import Document, Scalar

NO_NAME = re.compile(
    r"(?:untitled|unspecified|anonymous|unknown|title|document|dokument|slide|sheet|page|\W|\d)*"
    r"|.*\.(?:docx?|dotx?|odt|rtf|xlsx?|pptx?|indd|tex|dvi|ps|pdf|pmd|qxd|html?|txt|wpd|pages)|[^\s.]+\.\w{2,4}"
    r"|https?://.*|about:blank|[0-9a-f-]{16,}",
    re.IGNORECASE,
)
"""Titles and authors that programs write when nobody did."""
BY_PROGRAM = re.compile(r"\A(?:Microsoft (?:Word|PowerPoint|Excel)|PowerPoint Presentation|Microsoft Office) *-? *")
"""What printing programs put before the name of the file."""


class PdfLoader(FileLoader, name="pdf"):
    """One document per file; `Document.pages` holds where each page starts, and each page ends in a newline.

    Columns are read one after the other; drawn and aligned tables become pipe tables; values of fields and texts
    written onto a page stand where they are seen, notes at the end of their page. Words broken over two lines are
    joined. Pages without text (scans) are counted as warnings; a file with none at all is refused. A title that a
    program made up gives way to the largest line of the first page.
    """

    suffixes = (".pdf",)
    packages = {"pypdfium2": "files", "pypdf": "files"}
    format = "PDF"

    max_pages: SpeedOnly[PositiveInt] = 20_000
    """Refuse files of more pages."""

    def read(self, path: Path) -> Iterator[Document]:
        """The file as one document."""
        pdfium = require("pypdfium2", extra="files", needed_by="the loader 'pdf'")
        with LOCK, closing(_open(path, pdfium)) as pdf:
            self._check_pages(path, len(pdf))
            pages = list(self._pages(pdf, pdfium, path))
            metadata = _metadata(pdf, pdfium.raw)
        starts, text = join(whole_words(text for text, _ in pages))
        if not text.strip():
            raise DocumentError(
                "its one page holds no text" if len(pages) == 1 else f"its {len(pages)} pages hold no text",
                where=path.as_posix(),
                fix="run OCR over it first (ocrmypdf in.pdf out.pdf), if its pages are pictures of text",
            )
        name = path.as_posix()
        title = str(metadata.pop("title", "")) or next((largest for _, largest in pages[:1]), "")
        yield Document(name, text, name, title, "application/pdf", metadata, starts)

    def _check_pages(self, path: Path, count: int) -> None:
        if count > self.max_pages:
            raise DocumentError(
                f"{count:,} pages are more than the limit of {self.max_pages:,}",
                where=path.as_posix(),
                fix=f"split it, or raise the limit in the pipeline: load: [{{use: pdf, max_pages: {count}}}]",
            )

    def _pages(self, pdf: Any, pdfium: Any, path: Path) -> Iterator[tuple[str, str]]:
        """The text of each page and its largest line."""
        form = _form(pdf, pdfium, path)
        size = 0
        for number in range(len(pdf)):
            try:
                text, largest, lacking = _page(pdf, number, form, pdfium.raw)
                if lacking:
                    text = _completed(text, path, number)
            except Exception as error:  # One damaged page does not take the others with it.
                warn(f"{path.name}: page {number + 1} cannot be read ({type(error).__name__}: {error})")
                text = largest = ""
            else:
                if not text.strip():
                    warn(f"{path.name}: pages without text, perhaps scans: run OCR over them (ocrmypdf)")
            if (size := size + len(text)) > self.max_bytes:
                raise DocumentError(
                    f"the text of its first {number + 1} pages takes more than the limit of {self.max_bytes:,}",
                    where=path.as_posix(),
                    fix=f"split it, or raise the limit in the pipeline: load: [{{use: pdf, max_bytes: {2 * size}}}]",
                )
            yield text, largest


def join(texts: Iterable[str]) -> tuple[tuple[int, ...], str]:
    """The offset at which each page starts, and all pages in one text, each ended by a newline."""
    parts, starts, at = [], [], 0
    for text in texts:
        starts.append(at)
        parts.append(text if text.endswith("\n") else text + "\n")
        at += len(parts[-1])
    return tuple(starts), "".join(parts)


def _open(path: Path, pdfium: Any) -> Any:
    """Many files are encrypted with an empty password, only to forbid printing: those open here."""
    try:
        return pdfium.PdfDocument(path)
    except pdfium.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.raw.FPDF_ERR_PASSWORD:
            raise DocumentError(
                "encrypted: it opens only with a password",
                where=path.as_posix(),
                fix="save a copy without the password (qpdf --password=... --decrypt in.pdf out.pdf) and ingest that",
            ) from error
        raise


def _form(pdf: Any, pdfium: Any, path: Path) -> Any:
    kind = pdf.get_formtype()
    if kind == pdfium.raw.FORMTYPE_XFA_FULL:
        warn(f"{path.name}: an XFA form, whose fields are not read: print it to PDF")
    if kind == pdfium.raw.FORMTYPE_NONE:
        return None
    pdf.init_forms()
    return pdf.formenv


def _completed(text: str, path: Path, number: int) -> str:
    """The text of a page as pypdf reads it, if that is more."""
    try:
        plain = text_by_pypdf(path, number)
        more = says_more(plain, text)
    except Exception:  # The second reader may fail as it likes: what the first one read stays.
        plain, more = "", None
    if more is None:
        warn(f"{path.name}: pages with text in fonts that are not in the file, which cannot be read")
    if not more:
        return text
    warn(f"{path.name}: pages with fonts that are not in the file: read without columns, tables and forms")
    return plain


def _page(pdf: Any, number: int, form: Any, raw: Any) -> tuple[str, str, bool]:
    with closing(pdf[number]) as page, closing(page.get_textpage()) as textpage:
        lacking = leaves_out(raw, page, textpage)
        pieces, askew, turn = words(raw, textpage)
        added, notes = annotated(raw, page, form, turn, pieces)
        tables = grids(*rules(raw, page, turn))
    text = page_text(with_tables([*pieces, *added], tables))
    largest = _largest(pieces) if number == 0 else ""
    return "\n\n".join(filter(None, [text, *askew, *notes])), largest, lacking


def _largest(pieces: list[Piece]) -> str:
    """The first lines of a page, in the largest letters, if these are larger than the rest: its heading."""
    heights = sorted({round(p.height, 1) for p in pieces if len(p.text) > 1}, reverse=True)
    if len(heights) < 2 or heights[0] < 1.15 * heights[len(heights) // 2]:
        return ""
    lines = [joined(row) for row in rows(p for p in pieces if p.height > 0.97 * heights[0])]
    title = " ".join(lines[:3])
    return title if 3 <= len(title) <= 200 else ""


def _metadata(pdf: Any, raw: Any) -> dict[str, Scalar]:
    """Title, author, year and labels of pages, as far as the file states them."""
    kept: dict[str, Scalar] = {"pages": len(pdf)}
    for key in ("Title", "Author"):
        value = BY_PROGRAM.sub("", " ".join(pdf.get_metadata_value(key).split()))
        if not NO_NAME.fullmatch(value):
            kept[key.lower()] = value
    if year := re.match(r"(?:D:)?(\d{4})", pdf.get_metadata_value("CreationDate")):
        kept["year"] = int(year[1])
    if labels := label_ranges([pdf.get_page_label(n) for n in range(len(pdf))]):
        kept["page_labels"] = labels
    return kept
