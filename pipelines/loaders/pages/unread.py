"""Text that pdfium leaves out: fonts that are not in the file and are coded by no Unicode map, as some Chinese and
Japanese ones. pypdf has their tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fovea.rag.errors import require

LOOKS = 100
"""How many pieces of text in fonts outside the file are looked at on a page."""

FEW = 3
"""So many characters more are text that was left out."""


def leaves_out(raw: Any, page: Any, textpage: Any) -> bool:
    """Whether pdfium has no text for something that a page writes in a font outside the file."""
    looked = 0
    for n in range(raw.FPDFPage_CountObjects(page)):
        thing = raw.FPDFPage_GetObject(page, n)
        if raw.FPDFPageObj_GetType(thing) != raw.FPDF_PAGEOBJ_TEXT:
            continue
        font = raw.FPDFTextObj_GetFont(thing)
        if font and not raw.FPDFFont_GetIsEmbedded(font):
            if raw.FPDFTextObj_GetText(thing, textpage, None, 0) <= 2:
                return True
            if (looked := looked + 1) >= LOOKS:
                return False
    return False


def says_more(text: str, than: str) -> bool | None:
    """Whether `text` has characters that the other lacks; None if it lacks many of the other's, and so is garbled."""
    own, other = set("".join(text.split())), set("".join(than.split()))
    if len(other - own) > 0.1 * len(other):
        return None
    return len(own - other) >= FEW


def text_by_pypdf(path: Path, number: int) -> str:
    """The plain text of one page as pypdf reads it; raises what it does."""
    pypdf = require("pypdf", extra="files", needed_by="the loader 'pdf'")
    with pypdf.PdfReader(path, strict=False) as reader:
        if reader.is_encrypted:
            reader.decrypt("")
        text: str = reader.pages[number].extract_text()
        return text
