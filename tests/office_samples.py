"""Small real files of office formats, books, mail and archives, made on the spot."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import datetime
from email.message import EmailMessage


def packed(files: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP archive of `files`, the same bytes every time."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 3, 3, 9, 0, 0)), data, method)
    return out.getvalue()


def xlsx() -> bytes:
    """A workbook with a caption, formats, a merged range, a comment, and a hidden sheet."""
    import openpyxl
    from openpyxl.comments import Comment

    book = openpyxl.Workbook()
    book.properties.title, book.properties.creator = "Prices", "A. B."
    sheet = book.active
    sheet.title = "Teas"
    sheet["A1"] = "Price list"
    sheet.merge_cells("A1:D1")
    sheet.append(["Code", "Price", "Share", "Since"])
    sheet.append(["01234", 1234.5, 0.256, datetime(2026, 3, 4)])
    sheet.append([None, 8, 1, datetime(2025, 12, 31)])
    sheet.merge_cells("A3:A4")
    for row in (3, 4):
        formats = ("@", '#,##0.00 "€"', "0.0%", "dd.mm.yyyy")
        for column, code in enumerate(formats, 1):
            if (row, column) != (4, 1):
                sheet.cell(row, column).number_format = code
    sheet["B3"].comment = Comment("Without tax", "Ann")
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def pptx() -> bytes:
    """A presentation of two slides with a list, notes, a table and a chart."""
    from pptx import Presentation
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    show = Presentation()
    show.core_properties.title, show.core_properties.author = "Tea plan", "A. B."
    first = show.slides.add_slide(show.slide_layouts[1])
    first.shapes.title.text = "Harvest"
    first.placeholders[1].text = "Pick\nDry"
    first.notes_slide.notes_text_frame.text = "Show the garden"
    second = show.slides.add_slide(show.slide_layouts[6])
    for words, left in (("right", 5), ("left", 1)):
        second.shapes.add_textbox(Inches(left), Inches(1), Inches(2), Inches(1)).text_frame.text = words
    table = second.shapes.add_table(2, 2, Inches(1), Inches(3), Inches(4), Inches(1)).table
    for n, words in enumerate(("Tea", "Tins", "Sencha", "10")):
        table.cell(n // 2, n % 2).text = words
    data = CategoryChartData()
    data.categories = ["May", "June"]
    data.add_series("Kilos", (12.5, 8))
    second.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(5), Inches(4), Inches(2), data)
    out = io.BytesIO()
    show.save(out)
    return out.getvalue()


NAMESPACES = " ".join(
    f'xmlns:{prefix}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for prefix, name in (
        ("office", "office"), ("text", "text"), ("table", "table"), ("draw", "drawing"), ("svg", "svg-compatible"),
        ("style", "style"), ("presentation", "presentation"), ("meta", "meta"),
    )
) + ' xmlns:dc="http://purl.org/dc/elements/1.1/"'  # fmt: skip


def odf(body: str, styles: str = "", *, title: str = "On tea", automatic: str = "") -> bytes:
    """An OpenDocument file around the XML of a body (`<office:text>...`) and of styles."""
    content = (
        f"<office:document-content {NAMESPACES}><office:automatic-styles>{automatic}</office:automatic-styles>"
        f"<office:body>{body}</office:body></office:document-content>"
    )
    about = (
        f"<office:document-meta {NAMESPACES}><office:meta><dc:title>{title}</dc:title><dc:creator>A. B.</dc:creator>"
        "<meta:creation-date>2026-03-03T09:00:00</meta:creation-date></office:meta></office:document-meta>"
    )
    return packed(
        {
            "content.xml": content,
            "styles.xml": f"<office:document-styles {NAMESPACES}>{styles}</office:document-styles>",
            "meta.xml": about,
        }
    )


ODT = (
    '<office:text><text:h text:outline-level="1">Tea</text:h><text:p>Green<text:s text:c="2"/>tea.</text:p>'
    "<text:list><text:list-item><text:p>Warm the pot</text:p></text:list-item></text:list></office:text>"
)

CONTAINER = (
    '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
    '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/></rootfiles></container>'
)


def epub(chapters: Mapping[str, str] | None = None, **more: str) -> bytes:
    """A book; each chapter is the body of a page."""
    chapters = {"one.xhtml": "<h1>One</h1><p>It was tea.</p>", "two.xhtml": "<h1>Two</h1><p>It was late.</p>"} | (
        {} if chapters is None else dict(chapters)
    )
    items = "".join(
        f'<item id="c{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(chapters)
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" version="3.0"><metadata'
        ' xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>The tea book</dc:title><dc:creator>A. B.</dc:creator>'
        f"<dc:language>en</dc:language><dc:date>2020-01-02</dc:date></metadata><manifest>{items}</manifest>"
        f"<spine>{spine}</spine></package>"
    )
    pages = {
        f"OEBPS/{name}": f'<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml"><head>'
        f"<title/></head><body>{body}</body></html>"
        for name, body in chapters.items()
    }
    head = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER, "OEBPS/book.opf": book}
    return packed({**head, **pages, **more})


def notebook() -> bytes:
    """A notebook with text, code, what it printed, and a picture."""
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# Tea\n", "\n", "Some *words*."]},
        {
            "cell_type": "code",
            "execution_count": 1,
            "metadata": {},
            "source": "print(6 * 7)",
            "outputs": [{"output_type": "stream", "name": "stdout", "text": ["42\n"]}],
        },
    ]
    about = {"language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": about, "nbformat": 4, "nbformat_minor": 5}).encode()


RTF = (
    rb"{\rtf1\ansi\ansicpg1252{\fonttbl{\f0 Arial;}}{\info{\title On tea}{\author A. B.}}"
    rb"\pard\outlinelevel0 Tea\par\pard Don\u8217?t boil it \u8212-ever.\par}"
)


def letter(**headers: str) -> EmailMessage:
    """A message with a plain body."""
    message = EmailMessage()
    fields = {
        "Subject": "Tea order", "From": "Ann <ann@example.org>", "To": "bob@example.org",
        "Date": "Tue, 03 Mar 2026 10:00:00 +0100", **headers,
    }  # fmt: skip
    for name, words in fields.items():
        message[name] = words
    message.set_content("Please order ten tins of Sencha.\n")
    return message


def eml() -> bytes:
    """A message with one attachment."""
    message = letter()
    message.add_attachment("# Terms\n\nPay later.\n", subtype="markdown", filename="terms.md")
    return message.as_bytes()


def mbox() -> bytes:
    """A mailbox of two messages."""
    letters = [letter(), letter(Subject="Second")]
    quoted = (message.as_bytes().replace(b"\nFrom ", b"\n>From ") for message in letters)
    return b"".join(b"From x Tue Mar  3\n" + data + b"\n" for data in quoted)
