"""Words of Word documents: what wraps, hides, replaces or stands for them."""

from __future__ import annotations

import pytest

from fovea.pipelines.loaders.docx import DocxLoader
from tests.growth import MOST, growth
from tests.pipelines.loaders.word_samples import SPACES, W, paragraph, read, run, table, word

FIELD = '<w:r><w:fldChar w:fldCharType="{}"/></w:r>'
BEGIN, MIDDLE, END = (FIELD.format(which) for which in ("begin", "separate", "end"))


def code(text: str) -> str:
    return f"<w:r><w:instrText>{text}</w:instrText></w:r>"


def box(text: str) -> str:
    return f"<w:txbxContent>{paragraph(text)}</w:txbxContent>"


@pytest.mark.parametrize(
    "wrapped",
    [
        "<w:ins>{}</w:ins>", "<w:moveTo>{}</w:moveTo>", "<w:sdt><w:sdtPr/><w:sdtContent>{}</w:sdtContent></w:sdt>",
        "<w:smartTag><w:smartTagPr/>{}</w:smartTag>", "<w:customXml>{}</w:customXml>", "<w:hyperlink>{}</w:hyperlink>",
        "<w:dir>{}</w:dir>", "<w:bdo>{}</w:bdo>", '<w:fldSimple w:instr="PAGE">{}</w:fldSimple>', "<x:new>{}</x:new>",
        "<w:ins><w:hyperlink><w:smartTag>{}</w:smartTag></w:hyperlink></w:ins>",
        BEGIN + code("REF x") + MIDDLE + "{}" + END, "<mc:AlternateContent><mc:Choice>{}</mc:Choice><mc:Fallback>"
        + run("twice") + "</mc:Fallback></mc:AlternateContent>",
        "<mc:AlternateContent><mc:Choice/><mc:Fallback>{}</mc:Fallback></mc:AlternateContent>",
    ],
)  # fmt: skip
def test_runs_are_read_through_whatever_wraps_them(tmp_path, wrapped):
    assert read(tmp_path, paragraph("a ", wrapped.format(run("word")), " z")) == ("a word z", {})


@pytest.mark.parametrize(
    "wrapped",
    ["<w:sdt><w:sdtContent>{}</w:sdtContent></w:sdt>", "<w:customXml>{}</w:customXml>", "<w:ins>{}</w:ins>",
     "<x:new>{}</x:new>"],
)  # fmt: skip
@pytest.mark.parametrize("inside", ["{}", "<w:tbl>{}</w:tbl>"])
def test_blocks_and_rows_and_cells_are_read_through_what_wraps_them(tmp_path, wrapped, inside):
    row = "<w:tr><w:tc>{}</w:tc>{}</w:tr>".format(paragraph("Nut"), wrapped.format(f"<w:tc>{paragraph('3.25')}</w:tc>"))
    text, _ = read(tmp_path, wrapped.format(paragraph("A word")) + f"<w:tbl>{wrapped.format(row)}</w:tbl>")
    assert text == "A word\n\n| Nut | 3.25 |\n| --- | --- |"


def test_deletions_are_left_out_and_counted(tmp_path):
    gone = "<w:del><w:r><w:delText>30</w:delText></w:r></w:del>"
    moved = f"<w:moveFrom>{run('Old.')}</w:moveFrom>"
    text, warnings = read(tmp_path, paragraph(run("90 days"), gone, moved))
    assert (text, warnings) == ("90 days", {"a.docx: tracked deletions left out": 1})


def test_a_paragraph_whose_mark_was_deleted_runs_on_in_the_next(tmp_path):
    first = paragraph("The price ", properties="<w:rPr><w:del/></w:rPr>")
    assert read(tmp_path, first + paragraph("is 5.")) == ("The price is 5.", {})


def test_deleted_rows_and_cells_are_left_out(tmp_path):
    cells = f"<w:tc><w:tcPr><w:cellDel/></w:tcPr>{paragraph('gone')}</w:tc>"
    rows = f"<w:tr><w:tc>{paragraph('a')}</w:tc>{cells}<w:tc>{paragraph('b')}</w:tc></w:tr>"
    rows += f"<w:tr><w:trPr><w:del/></w:trPr><w:tc>{paragraph('gone')}</w:tc></w:tr>"
    assert read(tmp_path, f"<w:tbl>{rows}</w:tbl>")[0] == "| a | b |\n| --- | --- |"


def test_instructions_of_fields_are_not_shown_and_results_are(tmp_path):
    nested = BEGIN + code("IF ") + BEGIN + code("X") + MIDDLE + run("inner") + END + code(" = 1") + MIDDLE
    assert read(tmp_path, paragraph(nested + run("result") + END, " after"))[0] == "result after"
    assert read(tmp_path, paragraph(BEGIN + code("never ends")) + paragraph("Next."))[0] == "Next."


@pytest.mark.parametrize(
    ("instruction", "shown"),
    [(r"EQ \f(1,2)", "1/2"), (r"SYMBOL 163 \f &quot;Symbol&quot;", "≤"), ("MACROBUTTON x Click here", "Click here")],
)
def test_fields_that_store_no_result(tmp_path, instruction, shown):
    assert read(tmp_path, paragraph("a ", BEGIN + code(instruction) + END))[0] == f"a {shown}"


def test_form_fields_and_check_boxes_have_values(tmp_path):
    def form(inside):
        return f'<w:r><w:fldChar w:fldCharType="begin"><w:ffData>{inside}</w:ffData></w:fldChar></w:r>{END}'

    entries = '<w:ddList><w:result w:val="1"/><w:listEntry w:val="Red"/><w:listEntry w:val="Blue"/></w:ddList>'
    checked = '<w:checkBox><w:default w:val="0"/><w:checked/></w:checkBox>'
    control = '<w:sdt><w:sdtPr><w14:checkbox><w14:checked w14:val="0"/></w14:checkbox></w:sdtPr><w:sdtContent/></w:sdt>'
    assert read(tmp_path, paragraph(form(entries), " ", form(checked), " ", control))[0] == "Blue ☒ ☐"


def test_characters_that_are_elements(tmp_path):
    symbols = "".join(
        f'<w:r><w:sym w:font="{font}" w:char="{char}"/></w:r>'
        for font, char in [("Symbol", "F0A3"), ("Symbol", "B0"), ("Wingdings", "F0FC"), ("Arial", "20AC")]
    )
    others = "<w:r><w:t>a</w:t><w:noBreakHyphen/><w:t>b</w:t><w:softHyphen/><w:t>c</w:t><w:br/><w:tab/><w:cr/></w:r>"
    text, warnings = read(tmp_path, paragraph(symbols, others, "d"))
    assert (text, warnings) == ("≤°✓€a-bc\n\t\nd", {})
    font = run("\uf0b0C", '<w:rFonts w:ascii="Symbol"/>')
    assert read(tmp_path, paragraph(font, '<w:r><w:sym w:font="Odd" w:char="F041"/></w:r>')) == (
        "°Χ\ufffd", {"a.docx: symbols of unknown fonts left out": 1}
    )  # fmt: skip


def test_ruby_stands_behind_its_base(tmp_path):
    ruby = f"<w:r><w:ruby><w:rubyPr/><w:rt>{run('かんじ')}</w:rt><w:rubyBase>{run('漢字')}</w:rubyBase></w:ruby></w:r>"
    assert read(tmp_path, paragraph(ruby, "です"))[0] == "漢字(かんじ)です"


def maths(inside: str) -> str:
    return f"<m:oMath>{inside}</m:oMath>"


def m(text: str) -> str:
    return f"<m:r><m:t>{text}</m:t></m:r>"


HALF = f"<m:f><m:num>{m('1')}</m:num><m:den>{m('2')}</m:den></m:f>"


@pytest.mark.parametrize(
    ("formula", "linear"),
    [
        (HALF, "1/2"), (m("3") + HALF, "3 1/2"),
        (f"<m:sSup><m:e>{m('x')}</m:e><m:sup>{m('2')}</m:sup></m:sSup>", "x^2"),
        (f"<m:sSub><m:e>{m('x')}</m:e><m:sub>{m('i+1')}</m:sub></m:sSub>", "x_(i+1)"),
        (f"<m:rad><m:deg/><m:e>{m('x+1')}</m:e></m:rad>", "√(x+1)"),
        (f"<m:f><m:num>{m('a+b')}</m:num><m:den>{m('c')}</m:den></m:f>", "(a+b)/c"),
        (f"<m:d><m:e>{m('x')}</m:e></m:d>", "(x)"),
        (f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{m('i')}</m:sub><m:sup>{m('n')}</m:sup><m:e>{m('x')}"
         "</m:e></m:nary>", "∑_i^n x"),
        (f"<m:func><m:fName>{m('sin')}</m:fName><m:e>{m('x')}</m:e></m:func>", "sin x"),
        (f"<m:m><m:mr><m:e>{m('a')}</m:e><m:e>{m('b')}</m:e></m:mr>"
         f"<m:mr><m:e>{m('c')}</m:e></m:mr></m:m>", "[a, b; c]"),
    ],
)  # fmt: skip
def test_formulas_on_one_line(tmp_path, formula, linear):
    assert read(tmp_path, paragraph("Let ", maths(formula), " be."))[0] == f"Let {linear} be."
    assert read(tmp_path, f"<m:oMathPara>{maths(formula)}</m:oMathPara>" + paragraph("x"))[0] == f"{linear}\n\nx"


def test_notes_follow_the_block_that_names_them(tmp_path):
    def reference(kind, name):
        return f'<w:r><w:{kind}Reference w:id="{name}"/></w:r>'

    body = paragraph("Rate", reference("footnote", 2), " and", reference("endnote", 5), ".", reference("comment", 0))
    text, _ = read(
        tmp_path, body + paragraph("Again", reference("footnote", 7), "."),
        footnotes=f'<w:footnote w:id="2">{paragraph("5 percent.")}</w:footnote>'
        f'<w:footnote w:id="7">{paragraph("6 percent.")}{paragraph("More.")}</w:footnote>',
        endnotes=f'<w:endnote w:id="5">{paragraph("End.")}</w:endnote>',
        comments=f'<w:comment w:id="0" w:author="Ann">{paragraph("Check this.")}</w:comment>',
    )  # fmt: skip
    assert text == (
        "Rate[^1] and[^i].[^c1]\n\n[^1]: 5 percent.\n\n[^i]: End.\n\n[^c1]: Ann: Check this.\n\nAgain[^2].\n\n"
        "[^2]: 6 percent. More."
    )


def test_text_boxes_are_read_once(tmp_path):
    drawing = (
        f"<w:drawing><wp:anchor><a:graphic><wps:txbx>{box('230 volts')}</wps:txbx></a:graphic></wp:anchor></w:drawing>"
    )
    old = f"<w:pict><v:shape><v:textbox>{box('230 volts')}</v:textbox></v:shape></w:pict>"
    both = (
        f"<mc:AlternateContent><mc:Choice>{drawing}</mc:Choice><mc:Fallback>{old}</mc:Fallback></mc:AlternateContent>"
    )
    for shape in (drawing, old, both):
        assert read(tmp_path, paragraph("Outer.", f"<w:r>{shape}</w:r>"))[0] == "Outer.\n\n230 volts"
        assert read(tmp_path, table(["a", "b"], [paragraph(f"<w:r>{shape}</w:r>"), "c"]))[0].count("230 volts") == 1


def test_pictures_are_their_descriptions_and_counted_without(tmp_path):
    picture = '<w:r><w:drawing><wp:docPr id="1" name="x" {}/><a:graphic><x:pic/></a:graphic></w:drawing></w:r>'
    assert read(tmp_path, paragraph("See", picture.format('descr="A map of Ghent"'), "here.")) == (
        "See A map of Ghent here.", {}
    )  # fmt: skip
    assert read(tmp_path, paragraph("See", picture.format(""), ".")) == (
        "See.", {"a.docx: pictures without a description left out": 1}
    )  # fmt: skip
    chart = "<w:r><w:drawing><wp:inline><wp:docPr/><c:chart/></wp:inline></w:drawing></w:r>"
    assert read(tmp_path, paragraph("x", chart))[1] == {"a.docx: charts left out": 1}
    assert read(tmp_path, paragraph("x") + "<w:altChunk/>")[1] == {"a.docx: embedded files left out": 1}


def test_hidden_text_is_left_out_and_counted(tmp_path):
    assert read(tmp_path, paragraph("a", run("secret", "<w:vanish/>"), run("b", '<w:vanish w:val="0"/>'))) == (
        "ab", {"a.docx: hidden text left out": 1}
    )  # fmt: skip


def test_headers_and_footers_stand_once_at_the_end(tmp_path):
    text, _ = read(
        tmp_path, paragraph("Body."), header1=paragraph("Ref. 12/7"), header2=paragraph("Ref. 12/8"),
        footer1=paragraph("Page 1"), footer2=paragraph("1"),
    )  # fmt: skip
    assert text == "Body.\n\nRef. 12/7\n\nPage 1"


@pytest.mark.parametrize("suffix", [".docm", ".dotx", ".dotm"])
def test_documents_with_macros_and_templates(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(word(paragraph("Words.")))
    (document,) = DocxLoader().load(tmp_path / f"a{suffix}")
    assert document.text == "Words.\n"
    assert suffix in DocxLoader.suffixes


def test_the_strict_edition_of_the_format(tmp_path):
    strict = word(paragraph("Words.") + table(["a", "b"]), main="http://purl.oclc.org/ooxml/wordprocessingml/main")
    (tmp_path / "a.docx").write_bytes(strict)
    (document,) = DocxLoader().load(tmp_path / "a.docx")
    assert document.text == "Words.\n\n| a | b |\n| --- | --- |\n"
    assert W in SPACES


DELETED_MARK = '<w:rPr><w:del w:id="1" w:author="A"/></w:rPr>'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (paragraph("Last words.", properties=DELETED_MARK), "Last words."),
        (paragraph("Before.", properties=DELETED_MARK) + table(["A", "B"], ["1", "2"]),
         "Before.\n\n| A | B |\n| --- | --- |\n| 1 | 2 |"),
        (table([paragraph("Q", properties=DELETED_MARK), "V"], ["1", "2"]) + paragraph("After"),
         "| Q | V |\n| --- | --- |\n| 1 | 2 |\n\nAfter"),
        (table([paragraph("framed", properties=DELETED_MARK)]) + paragraph("After"), "framed\n\nAfter"),
        (paragraph("a", "<w:r><w:pict><v:textbox><w:txbxContent><w:p><w:r><w:t>box</w:t></w:r></w:p></w:txbxContent>"
                   "</v:textbox></w:pict></w:r>", properties=DELETED_MARK) + paragraph("b"), "box\n\nab"),
    ],
)  # fmt: skip
def test_what_should_run_on_where_nothing_follows_stands_for_itself(tmp_path, body, said):
    assert read(tmp_path, body)[0] == said


@pytest.mark.parametrize("third", [f"<m:oMath>{HALF}</m:oMath>", BEGIN + code(r"EQ \f(1;2)") + END])
def test_a_fraction_does_not_run_into_the_number_before_it(tmp_path, third):
    assert read(tmp_path, paragraph("3", third, " cups"))[0] == "3 1/2 cups"


SYMBOLIC = '<w:rFonts w:ascii="Symbol" w:hAnsi="Symbol"/>'
STYLED = f'<w:style w:type="character" w:styleId="S"><w:name w:val="S"/><w:rPr>{SYMBOLIC}</w:rPr></w:style>'


@pytest.mark.parametrize(
    ("text", "properties", "said"),
    [
        ("m", SYMBOLIC, "μ"), ("D £", SYMBOLIC, "Δ ≤"), ("\uf0a3", '<w:rFonts w:hAnsi="Symbol"/>', "≤"),
        ("\uf0a3", '<w:rStyle w:val="S"/>', "≤"), ("ü", '<w:rFonts w:ascii="Wingdings"/>', "✓"),
        ("a", '<w:rFonts w:ascii="Webdings"/>', "✔"), ("m", '<w:rFonts w:ascii="Arial"/>', "m"),
    ],
)  # fmt: skip
def test_letters_in_symbol_fonts_are_what_is_seen(tmp_path, text, properties, said):
    assert read(tmp_path, paragraph(run(text, properties)), styles=STYLED) == (said, {})


def test_a_private_character_of_no_known_font_is_counted(tmp_path):
    read_ = read(tmp_path, paragraph("5 \uf0d7 3"))
    assert read_ == ("5 \ufffd 3", {"a.docx: symbols of unknown fonts left out": 1})


def test_many_notes_and_styles_in_long_chains_cost_linear_time(tmp_path):
    def reading(many):
        notes = "".join(f'<w:footnote w:id="{n}">{paragraph("n")}</w:footnote>' for n in range(many))
        named = "".join(f'<w:r><w:footnoteReference w:id="{n}"/></w:r>' for n in range(many))
        styles = "".join(
            f'<w:style w:type="paragraph" w:styleId="S{n}"><w:basedOn w:val="S{n - 1}"/></w:style>' for n in range(many)
        )
        body = paragraph("x", named) + paragraph("x", properties=f'<w:pStyle w:val="S{many - 1}"/>') * many
        return lambda: read(tmp_path, body, footnotes=notes, styles=styles)

    assert growth(reading, 300) < MOST
