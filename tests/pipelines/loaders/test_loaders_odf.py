"""OpenDocument: words as they are shown, computed numbers, tables, slides; nothing left out in silence."""

import pytest

from fovea.pipelines.loaders.odf import OdfLoader
from fovea.pipelines.loaders.opendocument.numbers import digits
from fovea.rag.errors import DocumentError
from tests.loader_samples import load, one
from tests.office_samples import NAMESPACES, ODT, odf, packed

OUTLINE = (
    "<office:styles><text:outline-style>"
    '<text:outline-level-style text:level="1" style:num-format="1" style:num-suffix="."/>'
    '<text:outline-level-style text:level="2" style:num-format="1" text:display-levels="2"/>'
    '</text:outline-style><style:style style:name="Cover" style:parent-style-name="Title"/></office:styles>'
)
LISTS = (
    '<text:list-style style:name="L1"><text:list-level-style-number text:level="1" style:num-format="1"'
    ' style:num-suffix="."/><text:list-level-style-number text:level="2" style:num-format="a"'
    ' style:num-prefix="(" style:num-suffix=")"/></text:list-style>'
)


def text_of(tmp_path, body, styles="", automatic=""):
    data = odf(f"<office:text>{body}</office:text>", styles, automatic=automatic)
    return one(OdfLoader(), tmp_path / "a.odt", data).text


def test_a_text_word_for_word(tmp_path):
    document = one(OdfLoader(), tmp_path / "a.odt", odf(ODT))
    assert document.text == "# Tea\n\nGreen  tea.\n\n- Warm the pot\n"
    assert (document.title, document.media_type) == ("On tea", "text/markdown")
    assert document.metadata == {"author": "A. B.", "year": 2026}


def test_headings_have_the_numbers_that_they_show(tmp_path):
    heads = ((1, "One"), (2, "First"), (2, "Second"), (1, "Two"), (2, "Third"))
    body = "".join(f'<text:h text:outline-level="{level}">{words}</text:h>' for level, words in heads)
    body = '<text:p text:style-name="Cover">The book</text:p>' + body
    assert text_of(tmp_path, body, OUTLINE).split("\n\n") == [
        "# The book", "# 1. One", "## 1.1 First", "## 1.2 Second", "# 2. Two", "## 2.1 Third\n",
    ]  # fmt: skip


def test_items_have_the_numbers_that_they_show_and_lists_may_go_on(tmp_path):
    def items(*words):
        return "".join(f"<text:list-item><text:p>{word}</text:p></text:list-item>" for word in words)

    inner = f"<text:list-item><text:p>two</text:p><text:list>{items('deep', 'deeper')}</text:list></text:list-item>"
    body = (
        f'<text:list text:style-name="L1">{items("one")}{inner}</text:list><text:p>between</text:p>'
        f'<text:list text:style-name="L1" text:continue-numbering="true">{items("three")}</text:list>'
        f'<text:p>new</text:p><text:list text:style-name="L1">{items("again")}</text:list>'
    )
    assert text_of(tmp_path, body, automatic=LISTS) == (
        "1. one\n2. two\n  (a) deep\n  (b) deeper\n\nbetween\n\n3. three\n\nnew\n\n1. again\n"
    )


@pytest.mark.parametrize(
    ("number", "form", "words"),
    [(4, "i", "iv"), (1999, "I", "MCMXCIX"), (27, "a", "aa"), (26, "A", "Z"), (7, "1", "7")],
)
def test_numbers_in_their_forms(number, form, words):
    assert digits(number, form) == words


def test_notes_comments_boxes_and_sections_hang_where_they_are(tmp_path):
    body = (
        "<text:section><text:p>Tea<text:note><text:note-citation>1</text:note-citation><text:note-body>"
        "<text:p>Or chai.</text:p></text:note-body></text:note> is<office:annotation><text:p>Really?</text:p>"
        "</office:annotation> <text:span>hot</text:span><text:tab/>now<text:line-break/>and"
        "<draw:frame><draw:text-box><text:p>In a box</text:p></draw:text-box></draw:frame> then.</text:p>"
        "</text:section>"
    )
    assert text_of(tmp_path, body) == (
        "Tea[^1] is hot\tnow\nand then.\n\n[^1]: Or chai.\n\nComment: Really?\n\nIn a box\n"
    )


def test_tables_of_texts_fill_merged_cells(tmp_path):
    def cell(words, more=""):
        return f"<table:table-cell {more}><text:p>{words}</text:p></table:table-cell>"

    covered = "<table:covered-table-cell/>"
    rows = (
        cell("Tea") + cell("2025", 'table:number-columns-spanned="2"') + covered,
        cell("Sencha", 'table:number-rows-spanned="2"') + cell("1") + cell("2"),
        covered + cell("3") + cell("4 | 5"),
    )
    body = "<table:table>" + "".join(f"<table:table-row>{row}</table:table-row>" for row in rows) + "</table:table>"
    assert text_of(tmp_path, body) == (
        "| Tea | 2025 | 2025 |\n| --- | --- | --- |\n| Sencha | 1 | 2 |\n| Sencha | 3 | 4 \\| 5 |\n"
    )


def test_what_is_left_out_is_counted(tmp_path):
    body = (
        "<text:tracked-changes><text:changed-region><text:deletion><text:p>gone</text:p></text:deletion>"
        "</text:changed-region></text:tracked-changes><text:table-of-content><text:index-body><text:p>One 1</text:p>"
        "</text:index-body></text:table-of-content><text:p>stays</text:p><text:p><draw:frame><draw:image/></draw:frame>"
        "</text:p><text:p><draw:frame><draw:image/><svg:desc>A garden</svg:desc></draw:frame></text:p>"
        "<text:p><draw:frame><draw:object/></draw:frame></text:p>"
    )
    styles = "<office:master-styles><style:header><text:p>Secret</text:p></style:header></office:master-styles>"
    data = odf(f"<office:text>{body}</office:text>", styles)
    (document,), warnings = load(OdfLoader(), tmp_path / "a.odt", data)
    assert document.text == "stays\n\nA garden\n"
    assert warnings == {
        "a.odt: deleted passages of tracked changes, left out": 1,
        "a.odt: tables of contents and indexes, left out as they repeat the text": 1,
        "a.odt: pictures without a description, left out": 1,
        "a.odt: embedded objects (charts, formulas), left out": 1,
        "a.odt: headers and footers of pages, left out": 1,
    }


def cells(*values):
    return "".join(
        f'<table:table-cell office:value-type="{kind}"><text:p>{words}</text:p></table:table-cell>'
        for kind, words in values
    )


def test_cells_of_spreadsheets_are_as_they_were_shown(tmp_path):
    empty = '<table:table-cell table:number-columns-repeated="16000"/>'
    body = (
        '<office:spreadsheet><table:table table:name="Prices"><table:table-row>'
        f"{cells(('string', 'Tea'), ('string', 'Price'), ('string', 'Since'))}{empty}</table:table-row>"
        f"<table:table-row>{cells(('string', '01'), ('currency', '1.234,50 €'), ('date', '04.03.2026'))}"
        "</table:table-row>"
        f'<table:table-row table:number-rows-repeated="2">{cells(("string", "x"))}<table:table-cell'
        ' office:value-type="float" office:value="3.5"/></table:table-row>'
        f'<table:table-row table:number-rows-repeated="1000000">{empty}</table:table-row></table:table>'
        '<table:table table:name="Empty"/></office:spreadsheet>'
    )
    document = one(OdfLoader(), tmp_path / "a.ods", odf(body))
    assert document.text == (
        "# Prices\n\n| Tea | Price | Since |\n| --- | --- | --- |\n| 01 | 1.234,50 € | 04.03.2026 |\n"
        "| x | 3.5 |  |\n| x | 3.5 |  |\n"
    )


def test_rows_that_are_repeated_without_end_are_refused(tmp_path):
    body = (
        '<office:spreadsheet><table:table table:name="T"><table:table-row table:number-rows-repeated="1000000">'
        '<table:table-cell table:number-columns-repeated="1000"><text:p>x</text:p></table:table-cell>'
        "</table:table-row></table:table></office:spreadsheet>"
    )
    (tmp_path / "a.ods").write_bytes(odf(body))
    with pytest.raises(DocumentError, match="a table spans more than 5,000,000 cells"):
        list(OdfLoader().load(tmp_path / "a.ods"))


def test_slides_are_pages_with_frames_in_their_order(tmp_path):
    def frame(words, x, y, kind="outline"):
        return (
            f'<draw:frame presentation:class="{kind}" svg:x="{x}cm" svg:y="{y}cm"><draw:text-box>'
            f"<text:p>{words}</text:p></draw:text-box></draw:frame>"
        )

    notes = f"<presentation:notes>{frame('Say hello', 1, 1, 'notes')}</presentation:notes>"
    body = (
        f"<office:presentation><draw:page>{frame('below', 1, 9)}{frame('right', 9, 3)}{frame('left', 1, 3)}"
        f"{frame('Plan', 1, 1, 'title')}{notes}</draw:page>"
        f"<draw:page>{frame('Next', 1, 1, 'title')}</draw:page></office:presentation>"
    )
    document = one(OdfLoader(), tmp_path / "a.odp", odf(body))
    assert document.text == "# Plan\n\nleft\n\nright\n\nbelow\n\nNotes: Say hello\n\n# Next\n"
    assert document.page_at(document.text.index("Notes")) == 1
    assert document.page_at(document.text.index("# Next")) == 2


def test_flat_files_are_read(tmp_path):
    flat = f"<office:document {NAMESPACES}><office:body>{ODT}</office:body></office:document>"
    assert one(OdfLoader(), tmp_path / "a.fodt", flat).text.startswith("# Tea\n")


def test_locked_files_are_refused_by_name(tmp_path):
    manifest = (
        "<manifest:manifest><manifest:file-entry><manifest:encryption-data/></manifest:file-entry></manifest:manifest>"
    )
    (tmp_path / "a.odt").write_bytes(packed({"META-INF/manifest.xml": manifest, "content.xml": b"\x93\x02"}))
    with pytest.raises(DocumentError, match="encrypted: this OpenDocument file opens only with a password"):
        list(OdfLoader().load(tmp_path / "a.odt"))


def test_another_archive_is_refused_by_name(tmp_path):
    (tmp_path / "a.odt").write_bytes(packed({"x": "y"}))
    with pytest.raises(DocumentError, match=r"this is no OpenDocument file: it has no content\.xml"):
        list(OdfLoader().load(tmp_path / "a.odt"))


@pytest.mark.parametrize("suffix", [".fodt", ".odt"])
def test_entities_are_not_followed(tmp_path, suffix):
    (tmp_path / "secret").write_text("the secret")
    xml = (
        f'<!DOCTYPE d [<!ENTITY e SYSTEM "file://{tmp_path}/secret"><!ENTITY a "{"ha" * 1000}">]>'
        f"<office:document {NAMESPACES}><office:body><office:text><text:p>before &e; after</text:p></office:text>"
        "</office:body></office:document>"
    )
    path = tmp_path / f"a{suffix}"
    path.write_bytes(xml.encode() if suffix == ".fodt" else packed({"content.xml": xml}))
    try:
        text = "".join(document.text for document in OdfLoader().load(path))
    except DocumentError as error:
        text = str(error)
    assert "the secret" not in text


def test_a_million_spaces_are_some(tmp_path):
    text = text_of(tmp_path, '<text:p>a<text:s text:c="1000000000"/>b</text:p>')
    assert len(text) < 2000


def test_raised_and_lowered_words_do_not_run_into_numbers(tmp_path):
    def style(name, position, parent=""):
        return (
            f'<style:style style:name="{name}" style:family="text" style:parent-style-name="{parent}">'
            f'<style:text-properties {position}/></style:style>'
        )  # fmt: skip

    automatic = "".join([
        style("Up", 'style:text-position="super 58%"'), style("Down", 'style:text-position="-33% 58%"'),
        style("Based", "", "Up"), style("Flat", 'style:text-position="0% 100%"', "Up"),
    ])  # fmt: skip
    spans = [("10", "Based", "6"), (" H", "Down", "2"), ("O 5", "Flat", "7"), (" 1", "Up", "st")]
    body = "".join(
        f'{before}<text:span text:style-name="{name}">{raised}</text:span>' for before, name, raised in spans
    )
    assert text_of(tmp_path, f"<text:p>{body}</text:p>", automatic=automatic) == "10^6 H2O 57 1st\n"


def test_wrappers_nobody_has_heard_of_lose_no_text(tmp_path):
    body = (
        "<draw:polygon><text:p>in a shape</text:p></draw:polygon><text:bibliography><text:index-body><text:p>Kim 2020"
    )
    body += "</text:p></text:index-body></text:bibliography><text:p>漢<text:ruby><text:ruby-base>字</text:ruby-base>"
    body += "<text:ruby-text>ji</text:ruby-text></text:ruby></text:p>"
    assert text_of(tmp_path, body) == "in a shape\n\nKim 2020\n\n漢字(ji)\n"
