"""PDF: what a reader sees on a page is in its text, in the order in which it is read."""

import io
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pypdf
import pytest
from pypdf.annotations import FreeText, Highlight, Text
from pypdf.generic import (
    ArrayObject,
    FloatObject,
    NameObject,
    NumberObject,
)
from reportlab.lib import colors
from reportlab.lib.styles import getSampleStyleSheet
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Paragraph, SimpleDocTemplate, Table

from fovea.pipelines.loaders.pages.hyphens import whole_words
from fovea.pipelines.loaders.pages.labels import label_ranges
from fovea.pipelines.loaders.pages.order import regions
from fovea.pipelines.loaders.pages.piece import Piece
from fovea.pipelines.loaders.pages.unread import says_more
from fovea.pipelines.loaders.pdf import PdfLoader
from fovea.rag.errors import DocumentError
from fovea.rag.trace import Trace
from tests.growth import spent

STYLES = getSampleStyleSheet()
HARBOUR = (
    "The harbour was busy that morning and the ships were loaded with timber from the northern forests while "
    "the crews waited for the tide to turn and the clerks counted every plank twice"
)
BREAD = (
    "Bread needs flour and water but it also needs patience because the dough has to rest for many hours before "
    "it may be shaped and baked in an oven that is hot enough to brown its crust"
)


def load(path, data):
    """The document of a PDF file, and the warnings it left."""
    path.write_bytes(data)
    trace = Trace()
    with trace.stage("load"):
        (document,) = PdfLoader().load(path)
    return document, dict(trace.warnings)


def text_of(path, data):
    """The text of a PDF file that leaves no warning."""
    document, warnings = load(path, data)
    assert warnings == {}
    return document.text


def drawn(draw, **settings):
    """A PDF on which `draw(canvas)` has drawn in 11 points."""
    out = io.BytesIO()
    canvas = Canvas(out, **settings)
    canvas.setFont("Helvetica", 11)
    draw(canvas)
    canvas.save()
    return out.getvalue()


def flowed(*flow):
    """A PDF of reportlab's paragraphs and tables."""
    out = io.BytesIO()
    SimpleDocTemplate(out).build(list(flow))
    return out.getvalue()


def lines(text, words=5):
    """A text in lines of so many words."""
    found = text.split()
    return [" ".join(found[n : n + words]) for n in range(0, len(found), words)]


def columns(canvas, *, across, step=0.0, heading=True):
    """Two columns, drawn one after the other or line by line, on one grid of lines or apart."""
    if heading:
        canvas.drawString(60, 790, "A heading that is set over both of the columns, across the gutter of the page")
    placed = [(60, n, line) for n, line in enumerate(lines(HARBOUR))]
    placed += [(320, n + step, line) for n, line in enumerate(lines(BREAD))]
    for x, n, line in sorted(placed, key=lambda p: (p[1], p[0])) if across else placed:
        canvas.drawString(x, 750 - 13 * n, line)


@pytest.mark.parametrize("step", [0.0, 0.5])
@pytest.mark.parametrize("heading", [True, False])
@pytest.mark.parametrize("across", [True, False])
def test_columns_are_read_one_after_the_other(tmp_path, across, heading, step):
    text = text_of(tmp_path / "a.pdf", drawn(lambda c: columns(c, across=across, heading=heading, step=step)))
    assert " ".join(text.split()).endswith(f"{HARBOUR} {BREAD}")
    assert text.startswith("A heading") == heading


def test_three_columns_are_read_one_after_the_other(tmp_path):
    def draw(canvas):
        for n in range(9):
            for x in (40, 220, 400):
                canvas.drawString(x, 700 - 13 * n, f"column {x} has here line {n}")

    text = text_of(tmp_path / "a.pdf", drawn(draw))
    assert re.findall(r"column (\d+) has here line (\d)", text) == [
        (x, str(n)) for x in ("40", "220", "400") for n in range(9)
    ]


def test_a_paragraph_goes_on_in_the_next_column_and_ends_where_it_ends(tmp_path):
    text = text_of(tmp_path / "a.pdf", drawn(lambda c: columns(c, across=False)))
    assert "plank twice\n\nBread" in text
    assert "gutter of the page\n\nThe harbour" in text


ROWS = [
    ["Item", "Weight", "Price"],
    ["Bolt", "12 g", "0.40"],
    ["Long hexagonal nut", "7 g", "0.15"],
    ["Pin", "1 g", "0.05"],
]
TABLE = (
    "| Item | Weight | Price |\n| --- | --- | --- |\n| Bolt | 12 g | 0.40 |\n| Long hexagonal nut | 7 g | 0.15 |\n"
    "| Pin | 1 g | 0.05 |"
)
RULED = {
    "none": [],
    "grid": [("GRID", (0, 0), (-1, -1), 0.5, colors.black)],
    "head": [("LINEBELOW", (0, 0), (-1, 0), 1, colors.black), ("ALIGN", (1, 0), (-1, -1), "RIGHT")],
    "columns": [
        ("BOX", (0, 0), (-1, -1), 1, colors.black),
        ("LINEBELOW", (0, 0), (-1, 0), 1, colors.black),
        ("LINEBEFORE", (1, 0), (2, -1), 1, colors.black),
    ],
    "stripes": [("ROWBACKGROUNDS", (0, 0), (-1, -1), (colors.white, colors.lightgrey))],
}


@pytest.mark.parametrize("style", RULED.values(), ids=RULED)
def test_tables_are_tables_whatever_rules_they_have(tmp_path, style):
    data = flowed(Paragraph("Before it."), Table(ROWS, style=style), Paragraph("After it."))
    assert text_of(tmp_path / "a.pdf", data) == f"Before it.\n\n{TABLE}\n\nAfter it.\n"


def test_a_table_drawn_column_by_column_is_read_row_by_row(tmp_path):
    def draw(canvas):
        for column, x in enumerate((60, 220, 320)):
            for row, cells in enumerate(ROWS):
                canvas.drawString(x, 700 - 20 * row, cells[column])

    assert text_of(tmp_path / "a.pdf", drawn(draw)) == f"{TABLE}\n"


def test_wrapped_cells_stay_whole_and_pipes_are_escaped(tmp_path):
    rows = [["Item", "Use"], ["Bolt | M8", Paragraph(HARBOUR)], ["Nut", Paragraph(BREAD)]]
    data = flowed(Table(rows, style=RULED["grid"], colWidths=[80, 160]))
    assert text_of(tmp_path / "a.pdf", data) == (
        f"| Item | Use |\n| --- | --- |\n| Bolt \\| M8 | {HARBOUR} |\n| Nut | {BREAD} |\n"
    )


def test_a_cell_over_several_columns_stays_one_and_empty_cells_keep_their_place(tmp_path):
    rows = [["Results of all quarters", "", ""], ["", "2023", "2024"], ["North", "", "2"]]
    data = flowed(Table(rows, style=[*RULED["grid"], ("SPAN", (0, 0), (2, 0))]))
    assert text_of(tmp_path / "a.pdf", data).splitlines() == [
        "| Results of all quarters |  |  |", "| --- | --- | --- |", "|  | 2023 | 2024 |", "| North |  | 2 |",
    ]  # fmt: skip


def fields(canvas):
    """A form with a field of every kind, filled."""
    form = canvas.acroForm
    canvas.drawString(60, 700, "Name:")
    form.textfield(name="name", x=120, y=695, width=200, height=20, value="Okonkwo")
    canvas.drawString(60, 670, "Remarks")
    form.textfield(
        name="notes", x=60, y=600, width=300, height=60, value="First line\nSecond line", fieldFlags="multiline"
    )
    for n, (label, ticked) in enumerate((("Send me news", True), ("Send me samples", False))):
        form.checkbox(name=label, x=60, y=560 - 30 * n, checked=ticked)
        canvas.drawString(90, 565 - 30 * n, label)
    for x, plan in ((60, "Gold"), (180, "Silver")):
        form.radio(name="plan", value=plan.lower(), selected=plan == "Gold", x=x, y=480)
        canvas.drawString(x + 30, 485, f"{plan} plan")
    canvas.drawString(60, 450, "Member since:")
    form.choice(name="since", value="2019", options=["2018", "2019"], x=160, y=425, width=100, height=36)
    form.textfield(name="code", x=60, y=380, width=90, height=20, value="12345", tooltip="Postcode")
    form.textfield(name="empty", x=300, y=380, width=90, height=20, value="")


def test_filled_fields_stand_in_the_text_where_they_stand_on_the_page(tmp_path):
    text = text_of(tmp_path / "a.pdf", drawn(fields))
    assert [line for line in text.splitlines() if line] == [
        "Name: Okonkwo", "Remarks", "First line", "Second line", "[x] Send me news", "[ ] Send me samples",
        "[x] Gold plan [ ] Silver plan", "Member since: 2019", "Postcode: 12345",
    ]  # fmt: skip


def test_fields_in_a_ruled_table_fill_its_cells(tmp_path):
    def draw(canvas):
        canvas.grid([60, 160, 320], [700, 670, 640])
        canvas.drawString(65, 680, "Surname")
        canvas.drawString(65, 650, "City")
        canvas.acroForm.textfield(name="s", x=165, y=673, width=150, height=20, value="Okonkwo")
        canvas.acroForm.textfield(name="c", x=165, y=643, width=150, height=20, value="Lagos")

    assert text_of(tmp_path / "a.pdf", drawn(draw)) == "| Surname | Okonkwo |\n| --- | --- |\n| City | Lagos |\n"


def test_texts_typed_onto_a_page_stand_there_and_notes_at_its_end(tmp_path):
    writer = pypdf.PdfWriter()
    two = drawn(
        lambda c: (
            c.drawString(60, 700, "The sum is"),
            c.drawString(60, 600, "Signed."),
            c.showPage(),
            c.drawString(60, 700, "Page two."),
        )
    )
    writer.append(io.BytesIO(two))
    writer.add_annotation(0, FreeText(text="910 euro", rect=(130, 695, 220, 712)))
    writer.add_annotation(0, Text(text="Check this.", rect=(400, 690, 420, 710), title_bar="Kim"))
    quads = ArrayObject(map(FloatObject, (60, 612, 100, 612, 60, 598, 100, 598)))
    writer.add_annotation(0, Highlight(rect=(60, 598, 100, 612), quad_points=quads))
    hidden = FreeText(text="secret", rect=(60, 500, 160, 520))
    hidden[NameObject("/F")] = NumberObject(2)
    writer.add_annotation(0, hidden)
    out = io.BytesIO()
    writer.write(out)
    document, warnings = load(tmp_path / "a.pdf", out.getvalue())
    assert document.text == "The sum is 910 euro\n\nSigned.\n\nNote by Kim: Check this.\nPage two.\n"
    assert document.pages == (0, document.text.index("Page two"))
    assert warnings == {}


@pytest.mark.parametrize("angle", [0, 90, 180, 270])
def test_turned_pages_are_read_as_they_are_turned(tmp_path, angle):
    def draw(canvas):
        canvas.translate(300, 400)
        canvas.rotate(angle)
        canvas.setPageRotation(angle)
        for n in range(5):
            canvas.drawString(-150, 60 - 14 * n, f"This is line {n} of it.")

    assert text_of(tmp_path / "a.pdf", drawn(draw)) == "".join(f"This is line {n} of it.\n" for n in range(5))


def test_a_stamp_across_the_page_does_not_tear_its_lines(tmp_path):
    def draw(canvas):
        for n in range(6):
            canvas.drawString(60, 700 - 14 * n, f"This is line {n} of the page.")
        canvas.translate(80, 600)
        canvas.rotate(45)
        canvas.drawString(0, 0, "DRAFT")

    text = text_of(tmp_path / "a.pdf", drawn(draw))
    assert text == "".join(f"This is line {n} of the page.\n" for n in range(6)) + "\nDRAFT\n"


def test_broken_words_are_joined_as_the_document_writes_them():
    pages = ["infor\x02mation is well\x02known, a well-known fact. Anglo\x02\nSaxon, 2020\x02\n2021, a\x02", "end"]
    assert whole_words(pages) == [
        "information is well-known, a well-known fact. Anglo-\nSaxon, 2020-\n2021, a-", "end",
    ]  # fmt: skip


def test_hyphens_at_the_ends_of_lines_become_words(tmp_path):
    broken = [
        "Plenty of infor-",
        "mation about well-",
        "known people, and what is well-known",
        "ends here. Anglo-",
        "Saxon kings.",
    ]

    def draw(canvas):
        for n, line in enumerate(broken):
            canvas.drawString(60, 700 - 13 * n, line)

    assert text_of(tmp_path / "a.pdf", drawn(draw)) == (
        "Plenty of information about well-known people, and what is well-known\nends here. Anglo-\nSaxon kings.\n"
    )


@pytest.mark.parametrize(
    ("stated", "title"),
    [
        ("untitled", "On the Care of Boilers"),
        ("Microsoft Word - draft 3.doc", "On the Care of Boilers"),
        ("care_v2.indd", "On the Care of Boilers"),
        ("10811.exe", "On the Care of Boilers"),
        ("", "On the Care of Boilers"),
        ("Microsoft Word - A Real Name", "A Real Name"),
        ("Boilers: a Guide", "Boilers: a Guide"),
        ("Untitled Landscapes", "Untitled Landscapes"),
    ],
)
def test_titles_of_programs_give_way_to_the_largest_line(tmp_path, stated, title):
    def draw(canvas):
        canvas.setTitle(stated)
        canvas.setFont("Helvetica-Bold", 20)
        canvas.drawString(60, 740, "On the Care of Boilers")
        canvas.setFont("Helvetica", 11)
        for n, line in enumerate(lines(HARBOUR)):
            canvas.drawString(60, 700 - 13 * n, line)

    document, _ = load(tmp_path / "a.pdf", drawn(draw))
    assert document.title == title
    assert "author" not in document.metadata


def test_text_of_one_size_has_no_title(tmp_path):
    document, _ = load(tmp_path / "a.pdf", drawn(lambda c: columns(c, across=False)))
    assert document.title == ""


@pytest.mark.parametrize(
    ("labels", "ranges"),
    [
        ([], ""),
        (["", ""], ""),
        (["1", "2", "3"], ""),
        (["i", "ii", "iii", "iv", "1", "2"], "i-iv, 1-2"),
        (["Cover", "A-1", "A-2", "B-1"], "Cover, A-1-A-2, B-1"),
        (["5", "6", "9"], "5-6, 9"),
    ],
)
def test_labels_of_pages_are_kept_as_ranges(labels, ranges):
    assert label_ranges(labels) == ranges


def test_page_labels_are_metadata(tmp_path):
    writer = pypdf.PdfWriter()
    writer.append(io.BytesIO(drawn(lambda c: [(c.drawString(60, 700, f"Page {n}."), c.showPage()) for n in range(4)])))
    writer.set_page_label(0, 1, style="/r")
    writer.set_page_label(2, 3, style="/D")
    out = io.BytesIO()
    writer.write(out)
    document, _ = load(tmp_path / "a.pdf", out.getvalue())
    assert document.metadata["page_labels"] == "i-ii, 1-2"


def test_chinese_in_fonts_outside_the_file_is_read(tmp_path):
    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))

    def draw(canvas):
        canvas.setFont("STSong-Light", 12)
        canvas.drawString(60, 700, "北京是中国的首都。")

    assert text_of(tmp_path / "a.pdf", drawn(draw)) == "北京是中国的首都。\n"


def test_a_second_reading_is_taken_if_it_holds_the_first_and_more():
    assert says_more("In 2016 北京是中国的首都", "In 2016")
    assert says_more(f"{BREAD} {BREAD}", BREAD) is False  # Drawn twice, as bold letters are.
    assert says_more("\x01\x02\x03\x04\x05\x06\x07", "In 2016") is None  # Codes of glyphs.


def test_text_that_unpacks_beyond_the_limit_is_refused(tmp_path):
    data = drawn(lambda c: [c.drawString(60, 800 - 12 * n, f"{n} " * 150) for n in range(60)])
    (tmp_path / "a.pdf").write_bytes(data)
    with pytest.raises(DocumentError, match=r"its first 1 pages takes more than the limit of 9,000\n  fix: split it"):
        list(PdfLoader(max_bytes=9_000).load(tmp_path / "a.pdf"))


def test_threads_take_turns(tmp_path):
    files = []
    for n in range(12):
        files.append(tmp_path / f"{n}.pdf")
        files[-1].write_bytes(drawn(lambda c, n=n: c.drawString(60, 700, f"This is file {n}.")))
    with ThreadPoolExecutor(4) as pool:
        texts = list(pool.map(lambda path: next(PdfLoader().load(path)).text, files))
    assert texts == [f"This is file {n}.\n" for n in range(12)]


@pytest.mark.parametrize("wide", [3.0, 40.0])
def test_pages_of_very_many_pieces_cost_bounded_time(wide):
    pieces = [Piece("word", x, y, x + wide, y + 9.0, run=n, order=n) for n, (x, y) in
              enumerate((7.0 * (n % 40), 11.0 * (n // 40)) for n in range(2000))]  # fmt: skip
    found: list = []
    assert spent(lambda: found.extend(regions(pieces))) < 10
    assert sum(map(len, found)) == 2000


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler's pdftotext is not installed")
@pytest.mark.parametrize("name", ["testing.pdf"])
def test_every_word_that_poppler_finds_is_there(name):
    path = Path(__file__).parents[3] / "examples" / "library" / "sqlite" / name
    done = subprocess.run(["pdftotext", "-enc", "UTF-8", path, "-"], capture_output=True, check=True)
    (document,) = PdfLoader().load(path)
    assert sorted(re.findall(r"\w+", done.stdout.decode())) == sorted(re.findall(r"\w+", document.text))
