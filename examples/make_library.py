"""Make `examples/library/` again from the two Debian packages its documents come from.

    apt-get download sqlite3-doc jargon-text        # Debian 12: sqlite3-doc 3.40.1-2+deb12u2, jargon-text 4.4.7-4.1
    for package in *.deb; do dpkg-deb -x "$package" unpacked; done
    pip install -e ".[files]" "reportlab>=5,<6"
    python examples/make_library.py unpacked

No word is changed: the menus, scripts and search boxes of the web pages are left out, and the pages are written in the
formats people keep documents in. The same packages and library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import re
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from bs4 import BeautifulSoup

from fovea.pipelines.loaders.html import parse, walk_of

LIBRARY = Path(__file__).resolve().parent / "library"
HTML = ("wal", "howtocorrupt", "faq")
MARKDOWN = ("limits", "whentouse")
WORD = ("datatype3",)
PDF = ("testing",)
DATE = datetime(2022, 12, 28, tzinfo=UTC)
"""The release of SQLite 3.40.1, whose documentation this is."""
AUTHOR = "The SQLite developers"


class Block(NamedTuple):
    """A heading, paragraph, item, table or code of a page, as Markdown writes it."""

    kind: str
    text: str
    level: int = 0


def main() -> None:
    """Write every document of the library."""
    parser = argparse.ArgumentParser(description="make examples/library/ from unpacked Debian packages")
    parser.add_argument("unpacked", type=Path)
    unpacked = parser.parse_args().unpacked
    os.environ["SOURCE_DATE_EPOCH"] = str(int(DATE.timestamp()))
    docs = unpacked / "usr/share/doc"
    pages = docs / "sqlite3"
    for folder in ("sqlite", "jargon"):
        (LIBRARY / folder).mkdir(parents=True, exist_ok=True)
    for name in HTML:
        (LIBRARY / f"sqlite/{name}.html").write_text(html(page(pages, name)), encoding="utf-8")
    for name in MARKDOWN:
        (LIBRARY / f"sqlite/{name}.md").write_text(markdown(page(pages, name)), encoding="utf-8")
    for name in WORD:
        (LIBRARY / f"sqlite/{name}.docx").write_bytes(word(page(pages, name)))
    for name in PDF:
        (LIBRARY / f"sqlite/{name}.pdf").write_bytes(pdf(page(pages, name)))
    text = gzip.decompress((docs / "jargon-text/jargon.txt.gz").read_bytes()).decode()
    (LIBRARY / "jargon/introduction.txt").write_text(jargon(text), encoding="utf-8")


def page(pages: Path, name: str) -> BeautifulSoup:
    """A page of SQLite's documentation without what the web site wraps it in; its title becomes a heading."""
    soup = parse((pages / f"{name}.html").read_text(encoding="utf-8"))
    for extra in soup.select(".nosearch, script, style, meta, link, [href*=honeypot]"):
        extra.replace_with(extra.get_text() if extra.name == "a" else "")
    for link in soup.select("a[name]:not([href])"):
        link.unwrap()
    assert soup.title
    assert soup.body
    if not soup.h1 or title(soup) not in soup.h1.get_text():
        heading = soup.new_tag("h1")
        heading.string = title(soup)
        soup.body.insert(0, heading)
    return soup


def title(soup: BeautifulSoup) -> str:
    """The page's title."""
    assert soup.title
    return " ".join(soup.title.get_text().split())


def html(soup: BeautifulSoup) -> str:
    """The page as one HTML file."""
    assert soup.head
    soup.head.insert(0, soup.new_tag("meta", charset="utf-8"))
    return re.sub(r"\n{3,}", "\n\n", str(soup)).strip() + "\n"


def markdown(soup: BeautifulSoup) -> str:
    """The page as Markdown with front matter."""
    front = f"---\ntitle: {title(soup)}\nauthor: {AUTHOR}\nversion: 3.40.1\nyear: {DATE.year}\n---\n\n"
    return front + body(soup) + "\n"


def body(soup: BeautifulSoup) -> str:
    """The words of the page as Markdown."""
    assert soup.body
    return walk_of(soup.body).writer.text.rstrip()


def blocks(soup: BeautifulSoup) -> Iterator[Block]:
    """The page block by block, without inline marks."""
    for mark in soup.find_all(["b", "i", "em", "strong", "code", "tt", "u", "big", "small"]):
        if not mark.find_parent("pre"):
            mark.unwrap()
    for quote in soup.find_all(["blockquote", "center"]):
        quote.unwrap()
    fence = re.compile(r"^ *```\n(.*?)\n *```$", re.DOTALL | re.MULTILINE)
    pieces = fence.split(body(soup))
    for number, piece in enumerate(pieces):
        if number % 2:
            yield Block("code", piece)
            continue
        for text in filter(None, (t.strip() for t in re.split(r"\n\n+|\n(?= *(?:-|\d+\.) )", piece))):
            yield block(text)


def block(text: str) -> Block:
    """One block from its Markdown."""
    if found := re.match(r"(#+) (.*)", text, re.DOTALL):
        return Block("heading", found[2], len(found[1]))
    if text.startswith("|"):
        return Block("table", text)
    if found := re.match(r"(-|\d+\.) +(.*)", text, re.DOTALL):
        return Block("bullet" if found[1] == "-" else "number", found[2])
    return Block("paragraph", text)


def cells(table: str) -> list[list[str]]:
    """The rows of a pipe table."""
    lines = [line for line in table.splitlines() if not re.fullmatch(r"[|\s:-]+", line)]
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in lines]


def word(soup: BeautifulSoup) -> bytes:
    """The page as a Word document."""
    import docx

    document = docx.Document()
    core = document.core_properties
    core.title, core.author, core.created, core.modified = title(soup), AUTHOR, DATE, DATE
    core.last_modified_by = core.comments = ""
    styles = {"bullet": "List Bullet", "number": "List Number", "code": "No Spacing", "paragraph": "Normal"}
    for part in blocks(soup):
        if part.kind == "heading":
            document.add_heading(part.text, part.level)
        elif part.kind == "table":
            rows = cells(part.text)
            table = document.add_table(len(rows), max(map(len, rows)), "Table Grid")
            for target, row in zip(table.rows, rows):
                for cell, text in zip(target.cells, row):
                    cell.text = text
        else:
            document.add_paragraph(part.text, styles[part.kind])
    raw = io.BytesIO()
    document.save(raw)
    return undated(raw)


def undated(raw: io.BytesIO) -> bytes:
    """The same archive with one date in every entry, so that the same content gives the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(raw) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(
                zipfile.ZipInfo(entry.filename, (DATE.year, DATE.month, DATE.day, 0, 0, 0)),
                source.read(entry),
                zipfile.ZIP_DEFLATED,
            )
    return out.getvalue()


def pdf(soup: BeautifulSoup) -> bytes:
    """The page as a PDF of A4 pages."""
    from xml.sax.saxutils import escape

    from reportlab.lib.pagesizes import A4
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.platypus import Paragraph, Preformatted, SimpleDocTemplate, Spacer

    styles = getSampleStyleSheet()
    story: list[object] = []
    for part in blocks(soup):
        if part.kind == "code":
            story.append(Preformatted(part.text, styles["Code"]))
        elif part.kind == "table":
            story += [Paragraph(escape("  ".join(row)), styles["BodyText"]) for row in cells(part.text)]
        else:
            style = {"heading": f"Heading{min(part.level, 4)}"}.get(part.kind, "BodyText")
            bullet = "- " if part.kind == "bullet" else ""
            story.append(Paragraph(bullet + escape(part.text), styles[style]))
        story.append(Spacer(1, 4))
    out = io.BytesIO()
    SimpleDocTemplate(out, pagesize=A4, title=title(soup), author=AUTHOR).build(story)
    return out.getvalue()


def jargon(text: str) -> str:
    """What the Jargon File says of itself: its status, and chapters 1 to 3, on its culture, its words, its history."""
    welcome = text.index("Welcome to the Jargon File", text.index("   Bibliography\n"))
    glyphs = text.index("   The Jargon File's online rendition")
    chapters = text.index("\nChapter\u00a01."), text.index("\nChapter\u00a04.")
    head = "The Jargon File, version 4.4.7, 29 Dec 2003\n\n"
    return head + text[welcome:glyphs].rstrip() + "\n" + text[chapters[0] : chapters[1]].rstrip() + "\n"


if __name__ == "__main__":
    main()
