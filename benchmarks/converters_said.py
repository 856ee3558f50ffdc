"""What a file says, read by the plainest means: the measure of `converters.py`."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from lxml import etree, html

SEEN = (
    "[not(ancestor::*[local-name()='del' or local-name()='moveFrom' or local-name()='tracked-changes'])]"
    "[not(ancestor::*[local-name()='Fallback' and preceding-sibling::*//*[local-name()='t']])]"
)
"""Outside deletions, and outside the older form of what is there in a newer one."""
TEXTS = f"self::*[local-name()='t'] | .//*[local-name()='t']{SEEN}"
MATHS = "http://schemas.openxmlformats.org/officeDocument/2006/math"


@dataclass(frozen=True)
class Said:
    """All text of a file, its headings, the cells of its table rows; `ordered` if the words stand in reading order."""

    text: str
    headings: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    ordered: bool = False


def word(path: Path) -> Said:
    roots = parts(path, "word/document.xml")
    styles = [one for root in parts(path, "word/styles.xml") for one in root.xpath("//*[local-name()='style']")]
    named = {own(one, "styleId") for one in styles for name in one.xpath("./*[local-name()='name']")
             if own(name, "val").lower().startswith("heading ")}  # fmt: skip
    paragraphs = [p for root in roots for p in root.xpath(f"//*[local-name()='p']{SEEN}")]
    heads = [p for p in paragraphs if set(map(str, p.xpath("./*/*[local-name()='pStyle']/@*"))) & named]
    return Said(said(roots, TEXTS), [said([p], TEXTS) for p in heads], rows(roots, "tr", "tc", TEXTS))


def slides(path: Path) -> Said:
    roots = parts(path, "ppt/slides/slide", "ppt/notesSlides/notesSlide")
    title = "//*[local-name()='sp'][.//*[local-name()='ph'][@type='title' or @type='ctrTitle']]"
    heads = [said([one], TEXTS) for root in roots for one in root.xpath(title)]
    return Said(said(roots, TEXTS), heads, rows(roots, "tr", "tc", TEXTS))


def open_text(path: Path) -> Said:
    roots = [body for root in parts(path, "content.xml") for body in root.xpath("//*[local-name()='text']")[:1]]
    texts = f".//text()[not(parent::*[local-name()='binary-data'])][parent::*{SEEN}]"
    heads = [said([one], texts) for root in roots for one in root.xpath(f".//*[local-name()='h']{SEEN}")]
    return Said(said(roots, texts), heads, rows(roots, "table-row", "table-cell", texts))


def page(path: Path) -> Said:
    root = html.fromstring(path.read_bytes() or b"<p>")
    for one in root.xpath("//script | //style | //template | //noscript | //head | //comment()"):
        if one.getparent() is not None:
            one.drop_tree()
    heads = [one.text_content() for one in root.xpath("//h1 | //h2 | //h3 | //h4 | //h5 | //h6")]
    return Said(
        root.text_content(), heads, rows([root], "tr", "*[local-name()='td' or local-name()='th']", ".//text()")
    )


def pdf(path: Path) -> Said:
    """What poppler's `pdftotext` finds; nothing without it."""
    if not shutil.which("pdftotext"):
        return Said("")
    try:
        done = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        return Said("")
    return Said(done.stdout.decode("utf-8", "replace"), ordered=True)


def parts(path: Path, *names: str) -> list[etree._Element]:
    """The roots of a package's XML parts whose names begin so; none where the package is damaged."""
    try:
        with ZipFile(path) as archive:
            wanted = [name for name in archive.namelist() if name.startswith(names) and name.endswith(".xml")]
            return [etree.fromstring(archive.read(name)) for name in wanted]
    except (BadZipFile, KeyError, etree.XMLSyntaxError, OSError):
        return []


def said(roots: Iterable[etree._Element], texts: str) -> str:
    found = [one for root in roots for one in root.xpath(texts)]
    return "\n".join(one if isinstance(one, str) else one.text or "" for one in found if not maths(one))


def maths(one: object) -> bool:
    return isinstance(one, etree._Element) and etree.QName(one).namespace == MATHS


def rows(roots: Iterable[etree._Element], row: str, cell: str, texts: str) -> list[list[str]]:
    """The cells' texts, row by row, of rows with two cells or more, outside other tables."""
    step = cell if cell.startswith("*") else f"*[local-name()='{cell}']"
    outer = f"//*[local-name()='{row}'][not(ancestor::*[local-name()='{row}'])]"
    found = [[said([one], texts) for one in line.xpath(f"./{step}")] for root in roots for line in root.xpath(outer)]
    return [line for line in found if len(line) > 1]


def own(element: etree._Element, name: str) -> str:
    return next((str(v) for k, v in element.attrib.items() if etree.QName(k).localname == name), "")


READERS: dict[str, tuple[tuple[str, ...], Callable[[Path], Said]]] = {
    "word": ((".docx", ".docm", ".dotx"), word),
    "html": ((".html", ".htm", ".xhtml"), page),
    "slides": ((".pptx",), slides),
    "odt": ((".odt",), open_text),
    "pdf": ((".pdf",), pdf),
}
