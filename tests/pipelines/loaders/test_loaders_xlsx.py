"""Workbooks: cells as they are shown, nothing left out in silence."""

import io
import re
import zipfile

import openpyxl
import pytest

from fovea.pipelines.loaders.packed import OLE
from fovea.pipelines.loaders.xlsx import XlsxLoader
from fovea.rag.errors import DocumentError, MissingExtra
from tests.loader_samples import load, one
from tests.office_samples import xlsx


def workbook(fill) -> bytes:
    """A workbook that `fill` has written to: it gets the book and its first sheet."""
    book = openpyxl.Workbook()
    fill(book, book.active)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def rewritten(data: bytes, name: str, change) -> bytes:
    """The same archive with one member changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.namelist():
            new.writestr(entry, change(old.read(entry)) if entry == name else old.read(entry))
    return out.getvalue()


def test_a_workbook_word_for_word(tmp_path):
    document = one(XlsxLoader(), tmp_path / "a.xlsx", xlsx())
    assert document.text == (
        "# Teas\n\nPrice list\n\n"
        "| Code | Price | Share | Since |\n| --- | --- | --- | --- |\n"
        "| 01234 | 1,234.50 € | 25.6% | 04.03.2026 |\n"
        "| 01234 | 8.00 € | 100.0% | 31.12.2025 |\n\n"
        "- Comment on B3 by Ann: Without tax\n"
    )
    assert (document.title, document.media_type) == ("Prices", "text/markdown")
    assert document.metadata["author"] == "A. B."
    assert document.metadata["sheets"] == 1


def test_a_formula_without_a_value_stands_as_it_is_written_counted(tmp_path):
    def fill(book, sheet):
        sheet.append(["Tins", "Twice"])
        sheet.append([4, "=A2*2"])

    (document,), warnings = load(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill))
    assert "| 4 | =A2*2 |" in document.text
    assert warnings == {"a.xlsx: formulas that no program has computed, read as they are written": 1}


def test_a_formula_with_a_value_gives_the_value(tmp_path):
    def fill(book, sheet):
        sheet.append(["Tins", "Share"])
        sheet.append([4, "=A2/8"])
        sheet["B2"].number_format = "0%"

    data = rewritten(
        workbook(fill), "xl/worksheets/sheet1.xml", lambda xml: re.sub(rb"</f><v ?(/>|></v>)", b"</f><v>0.5</v>", xml)
    )
    assert "| 4 | 50% |" in one(XlsxLoader(), tmp_path / "a.xlsx", data).text


def test_hidden_things_are_read_and_counted_or_left_out_and_counted(tmp_path):
    def fill(book, sheet):
        for row in (["Tea", "Cost"], ["Sencha", 4], ["Secret", 9]):
            sheet.append(row)
        sheet.row_dimensions[3].hidden = True
        sheet.column_dimensions["B"].hidden = True
        lists = book.create_sheet("Lists")
        lists["A1"] = "inner"
        lists.sheet_state = "hidden"

    data = workbook(fill)
    (document,), warnings = load(XlsxLoader(), tmp_path / "a.xlsx", data)
    assert all(word in document.text for word in ("Secret", "Cost", "inner"))
    done = "read too (hidden: false leaves them out)"
    assert warnings == {f"a.xlsx: hidden {what}, {done}": 1 for what in ("rows", "columns", "sheets")}
    (document,), warnings = load(XlsxLoader(hidden=False), tmp_path / "a.xlsx", data)
    assert not any(word in document.text for word in ("Secret", "Cost", "inner"))
    assert "Sencha" in document.text
    assert sum(warnings.values()) == 3


def test_tables_parted_by_empty_rows_are_tables_of_their_own(tmp_path):
    def fill(book, sheet):
        for row in (["a", "b"], [1, 2], [], ["Note: the rest is older"], [], ["c", "d"], [3, None], [None, 4]):
            sheet.append(row)

    text = one(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill)).text
    assert text == (
        "# Sheet\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n\nNote: the rest is older\n\n"
        "| c | d |\n| --- | --- |\n| 3 |  |\n|  | 4 |\n"
    )


def test_a_first_row_of_numbers_is_no_header(tmp_path):
    text = one(XlsxLoader(), tmp_path / "a.xlsx", workbook(lambda book, sheet: sheet.append([2025, 2026]))).text
    assert text == "# Sheet\n\n|  |  |\n| --- | --- |\n| 2025 | 2026 |\n"


def test_errors_booleans_and_awkward_words_stay(tmp_path):
    def fill(book, sheet):
        sheet.append(["kind", "value"])
        for value in ("#DIV/0!", True, "a | b", "two\nlines", "007", "=not a formula"):
            sheet.append(["x", value])
        sheet["B7"].data_type = "s"

    text = one(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill)).text
    for cell in ("#DIV/0!", "TRUE", "a \\| b", "two lines", "007", "=not a formula"):
        assert f"| x | {cell} |" in text


def test_a_value_that_its_format_hides_is_read_counted(tmp_path):
    def fill(book, sheet):
        sheet.append(["a", "b"])
        sheet.append(["x", 5])
        sheet["B2"].number_format = ";;;"

    (document,), warnings = load(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill))
    assert "| x | 5 |" in document.text
    assert warnings == {"a.xlsx: cells whose format hides their value, read in general form": 1}


def test_merged_headers_stand_above_each_of_their_columns(tmp_path):
    def fill(book, sheet):
        sheet.append(["Tea", "2025", None])
        sheet.append(["Tea", "May", "June"])
        sheet.append(["Sencha", 1, 2])
        sheet.merge_cells("B1:C1")

    assert "| Tea | 2025 | 2025 |" in one(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill)).text


def test_charts_and_pictures_are_counted(tmp_path):
    from openpyxl.chart import BarChart, Reference

    def fill(book, sheet):
        for row in (["Tea", "Tins"], ["Sencha", 4]):
            sheet.append(row)
        chart = BarChart()
        chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=2), titles_from_data=True)
        sheet.add_chart(chart, "E1")

    _, warnings = load(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill))
    assert warnings == {"a.xlsx: charts, left out": 1}


REFUSALS = [
    (OLE + bytes(600), "this is no Excel workbook, but a file of Office before 2007, or protected by a password"),
    (xlsx()[:3000], "cannot be read as Excel workbook: it is damaged or cut off"),
    (workbook(lambda book, sheet: None), "holds no text"),
]


@pytest.mark.parametrize(("data", "message"), REFUSALS)
def test_refusals(tmp_path, data, message):
    (tmp_path / "a.xlsx").write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        list(XlsxLoader().load(tmp_path / "a.xlsx"))
    assert message in str(caught.value)
    assert caught.value.fix


def test_what_would_unpack_to_too_much_is_refused(tmp_path):
    out = io.BytesIO(xlsx())
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/media/blank.bmp", bytes(100_000_000))
    (tmp_path / "a.xlsx").write_bytes(out.getvalue())
    with pytest.raises(DocumentError, match="unpacked it takes 100,"):
        list(XlsxLoader().load(tmp_path / "a.xlsx"))


def test_a_few_cells_that_span_the_whole_sheet_cost_little(tmp_path):
    def fill(book, sheet):
        sheet["A1"] = "first"
        sheet["XFD2"] = "last column"
        sheet["A20000"] = "last row"
        sheet.merge_cells("A1:XFD1")

    text = one(XlsxLoader(), tmp_path / "a.xlsx", workbook(fill)).text
    assert all(words in text for words in ("first", "last column", "last row"))
    assert len(text) < 2_000_000


def test_sheets_that_span_too_much_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fovea.pipelines.loaders.xlsx.MAX_CELLS", 1000)

    def fill(book, sheet):
        sheet["A1"], sheet["C500"] = "a", "b"
        sheet.merge_cells("A1:C500")

    (tmp_path / "a.xlsx").write_bytes(workbook(fill))
    with pytest.raises(DocumentError, match="spans more than 1,000 cells"):
        list(XlsxLoader().load(tmp_path / "a.xlsx"))


def test_entities_are_not_followed(tmp_path):
    (tmp_path / "secret").write_text("the secret")

    def change(xml):
        head = f'<!DOCTYPE d [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'.encode()
        return head + xml.replace(b"<t>Code</t>", b"<t>&e;</t>")

    (tmp_path / "a.xlsx").write_bytes(rewritten(xlsx(), "xl/sharedStrings.xml", change))
    try:
        text = "".join(document.text for document in XlsxLoader().load(tmp_path / "a.xlsx"))
    except DocumentError as error:
        text = str(error)
    assert "the secret" not in text


def test_without_its_package_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    (tmp_path / "a.xlsx").write_bytes(xlsx())
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[files\]"):
        list(XlsxLoader().load(tmp_path / "a.xlsx"))


def test_raised_letters_do_not_run_into_numbers(tmp_path):
    def parts(*runs):
        written = '<r><rPr><vertAlign val="{}"/></rPr><t xml:space="preserve">{}</t></r>'
        return "".join(written.format(*one) for one in runs)

    rich = parts(("baseline", "10"), ("superscript", "6"), ("baseline", " CO"), ("subscript", "2"))
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
    part = f'<Override PartName="/xl/rich.xml" ContentType="{kind}"/></Types>'.encode()
    cell = b'<c r="A1" t="s"><v>0</v></c>'
    data = workbook(lambda book, sheet: sheet.append([1, 5]))
    data = rewritten(data, "xl/worksheets/sheet1.xml", lambda x: re.sub(rb'<c r="A1".*?</c>', cell, x))
    data = rewritten(data, "[Content_Types].xml", lambda x: re.sub(rb"<Override[^>]*sharedStrings[^>]*>", b"", x))
    out = io.BytesIO(rewritten(data, "[Content_Types].xml", lambda x: x.replace(b"</Types>", part)))
    with zipfile.ZipFile(out, "a") as archive:
        space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        archive.writestr("xl/rich.xml", f'<sst xmlns="{space}"><si>{rich}</si></sst>')
    assert "10^6 CO2" in one(XlsxLoader(), tmp_path / "a.xlsx", out.getvalue()).text
