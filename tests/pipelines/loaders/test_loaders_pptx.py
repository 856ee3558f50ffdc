"""Presentations: a page and a heading a slide, shapes in reading order, nothing left out in silence."""

import io
import sys
import zipfile

import pytest
from lxml import etree
from pptx import Presentation
from pptx.chart.data import CategoryChartData, XyChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from fovea.pipelines.loaders.packed import OLE
from fovea.pipelines.loaders.pptx import PptxLoader
from fovea.rag.errors import DocumentError, MissingExtra
from tests.loader_samples import load, one
from tests.office_samples import pptx

PICTURE = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001e221bc33"
    "0000000049454e44ae426082"
)


def show(fill) -> bytes:
    """A presentation of one empty slide that `fill` has written to."""
    presentation = Presentation()
    fill(presentation.slides.add_slide(presentation.slide_layouts[6]))
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def box(shapes, words, left, top, height=1.0):
    shape = shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(height))
    shape.text_frame.text = words
    return shape


def test_a_presentation_word_for_word(tmp_path):
    document = one(PptxLoader(), tmp_path / "a.pptx", pptx())
    assert document.text == (
        "# Harvest\n\n- Pick\n- Dry\n\nNotes: Show the garden\n\n"
        "left\n\nright\n\n"
        "| Tea | Tins |\n| --- | --- |\n| Sencha | 10 |\n\n"
        "|  | Kilos |\n| --- | --- |\n| May | 12.5 |\n| June | 8 |\n"
    )
    assert (document.title, document.media_type) == ("Tea plan", "text/markdown")
    assert document.metadata == {"author": "A. B.", "year": 2013, "slides": 2}
    assert document.page_at(document.text.index("Notes")) == 1
    assert document.page_at(document.text.index("left")) == 2


def test_shapes_come_row_by_row_and_groups_in_their_place(tmp_path):
    def fill(slide):
        box(slide.shapes, "last", 1, 6)
        box(slide.shapes, "second", 4, 1.1)
        box(slide.shapes, "first", 1, 1.3)
        group = slide.shapes.add_group_shape()
        box(group.shapes, "in group right", 4, 3)
        box(group.shapes, "in group left", 1, 3)

    text = one(PptxLoader(), tmp_path / "a.pptx", show(fill)).text
    assert text.split("\n\n") == ["first", "second", "in group left", "in group right", "last\n"]


def test_merged_cells_and_words_that_look_like_structure(tmp_path):
    def fill(slide):
        table = slide.shapes.add_table(2, 3, Inches(1), Inches(1), Inches(6), Inches(1)).table
        for n, words in enumerate(("a | b", "B", "C", "wide", "", "z")):
            table.cell(n // 3, n % 3).text = words
        table.cell(1, 0).merge(table.cell(1, 1))
        box(slide.shapes, "# no heading", 1, 5)

    text = one(PptxLoader(), tmp_path / "a.pptx", show(fill)).text
    assert text == "| a \\| b | B | C |\n| --- | --- | --- |\n| wide | wide | z |\n\n\\# no heading\n"


def test_points_of_scatter_charts_are_rows(tmp_path):
    def fill(slide):
        data = XyChartData()
        for name, points in (("North", ((1, 2.5), (3, 4))), ("South", ((5, 6),))):
            series = data.add_series(name)
            for point in points:
                series.add_data_point(*point)
        slide.shapes.add_chart(XL_CHART_TYPE.XY_SCATTER, Inches(1), Inches(1), Inches(4), Inches(3), data)

    text = one(PptxLoader(), tmp_path / "a.pptx", show(fill)).text
    assert text == "|  | North | South |\n| --- | --- | --- |\n| 1 | 2.5 |  |\n| 3 | 4 |  |\n| 5 |  | 6 |\n"


def test_numbered_paragraphs_have_their_numbers(tmp_path):
    from lxml import etree

    def fill(slide):
        frame = box(slide.shapes, "one\ntwo\ndeeper\nthree", 1, 1).text_frame
        for n, paragraph in enumerate(frame.paragraphs):
            paragraph.level = int(n == 2)
            etree.SubElement(
                paragraph._p.get_or_add_pPr(),
                "{http://schemas.openxmlformats.org/drawingml/2006/main}buAutoNum",
                type="arabicPeriod",
            )

    text = one(PptxLoader(), tmp_path / "a.pptx", show(fill)).text
    assert text == "1. one\n2. two\n  1. deeper\n3. three\n"


def test_hidden_slides_and_pictures_are_counted(tmp_path):
    def fill(slide):
        slide._element.set("show", "0")
        box(slide.shapes, "backup", 1, 1)
        for words in ("", "A garden in May"):
            picture = slide.shapes.add_picture(io.BytesIO(PICTURE), Inches(1), Inches(3))
            picture._element.nvPicPr.cNvPr.set("descr", words)

    (document,), warnings = load(PptxLoader(), tmp_path / "a.pptx", show(fill))
    assert document.text == "backup\n\nA garden in May\n"
    assert warnings == {
        "a.pptx: hidden slides, read too": 1,
        "a.pptx: pictures without alternative text, left out": 1,
    }


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (OLE + bytes(600), "this is no PowerPoint presentation, but a file of Office before 2007, or protected"),
        (pptx()[:3000], "cannot be read as PowerPoint presentation: it is damaged or cut off"),
        (show(lambda slide: None), "holds no text"),
    ],
)
def test_refusals(tmp_path, data, message):
    (tmp_path / "a.pptx").write_bytes(data)
    with pytest.raises(DocumentError) as caught:
        list(PptxLoader().load(tmp_path / "a.pptx"))
    assert message in str(caught.value)
    assert caught.value.fix


def test_a_bomb_of_a_picture_is_refused(tmp_path):
    out = io.BytesIO(pptx())
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ppt/media/blank.bmp", bytes(100_000_000))
    (tmp_path / "a.pptx").write_bytes(out.getvalue())
    with pytest.raises(DocumentError, match="unpacked it takes"):
        list(PptxLoader().load(tmp_path / "a.pptx"))


def test_without_its_package_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.pptx").write_bytes(pptx())
    monkeypatch.setitem(sys.modules, "pptx", None)
    with pytest.raises(MissingExtra, match=r"fovea-rag\[office\]"):
        list(PptxLoader().load(tmp_path / "a.pptx"))


def test_raised_words_and_formulas_do_not_run_into_numbers(tmp_path):
    half = (
        '<a14:m xmlns:a14="http://schemas.microsoft.com/office/drawing/2010/main" '
        'xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math"><m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r>'
        "</m:num><m:den><m:r><m:t>2</m:t></m:r></m:den></m:f></m:oMath></a14:m>"
    )

    def fill(slide):
        paragraph = box(slide.shapes, "", 1, 1).text_frame.paragraphs[0]
        for words, baseline in (("10", "0"), ("-", "30000"), ("6", "30%"), (" H", ""), ("2", "-25000"), ("O, 3", "")):
            run = paragraph.add_run()
            run.text = words
            run.font._element.set("baseline", baseline)
        paragraph._p.append(etree.fromstring(half))

    assert "10^-6 H2O, 3 1/2" in one(PptxLoader(), tmp_path / "a.pptx", show(fill)).text


def test_a_chart_of_an_unknown_kind_is_counted_and_the_rest_is_read(tmp_path):
    def fill(slide):
        data = CategoryChartData()
        data.categories = ["Q1"]
        data.add_series("Sales", (5,))
        chart = slide.shapes.add_chart(XL_CHART_TYPE.AREA, 0, 0, Inches(2), Inches(2), data).chart
        area = chart._chartSpace.find(".//{*}areaChart")
        area.tag = area.tag.replace("areaChart", "area3DChart")
        box(slide.shapes, "beside it", 4, 4)

    documents, warnings = load(PptxLoader(), tmp_path / "a.pptx", show(fill))
    assert "beside it" in documents[0].text
    assert warnings == {"a.pptx: charts of a kind that cannot be read, left out": 1}
