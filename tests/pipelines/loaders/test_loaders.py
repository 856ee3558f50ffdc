"""Every loader keeps the contract, and keeps what its format holds."""

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders.csv import CsvLoader
from fovea.pipelines.loaders.docx import DocxLoader
from fovea.pipelines.loaders.html import HtmlLoader
from fovea.pipelines.loaders.jsonl import JsonlLoader
from fovea.pipelines.loaders.markdown import MarkdownLoader
from fovea.pipelines.loaders.pdf import PdfLoader, join
from fovea.pipelines.loaders.scalar import scalar
from fovea.pipelines.loaders.text import TextLoader
from fovea.rag import registry
from fovea.rag.headings import first_heading
from fovea.rag.testing.loaders import check_loader, check_refusals
from fovea.rag.trace import Trace
from tests.loader_samples import HTML, MARKDOWN, SAMPLES, TEXT, pdf, sample

LOADERS = registry.components("loader")


def load(loader, path, data):
    """The documents of a file made of `data`, and the warnings they left."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    trace = Trace()
    with trace.stage("load"):
        documents = list(loader.load(path))
    return documents, dict(trace.warnings)


def one(loader, path, data):
    """The one document of a file, which leaves no warning."""
    (document,), warnings = load(loader, path, data)
    assert warnings == {}
    return document


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_every_loader_keeps_the_contract(name, tmp_path):
    check_loader(LOADERS[name](), sample(name, tmp_path))


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_every_loader_refuses_damage_in_words(name, tmp_path):
    check_refusals(LOADERS[name](), sample(name, tmp_path), tmp_path)


def test_every_suffix_belongs_to_one_loader():
    suffixes = [s for loader in LOADERS.values() for s in loader.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(s == s.lower() and s.startswith(".") for s in suffixes)


def test_limits_do_not_make_files_new():
    plain = TextLoader().fingerprint
    assert TextLoader(max_bytes=5, also=(".x",)).fingerprint == plain
    assert TextLoader(encoding="cp1251").fingerprint != plain


# Text


def test_text_is_the_files_own_to_the_character(tmp_path):
    document = one(TextLoader(), tmp_path / "a.txt", TEXT)
    assert document.text == TEXT
    assert document.media_type == "text/plain"
    assert one(TextLoader(), tmp_path / "a.PY", "x = 1\n").media_type == "text/x-python"


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\r\n\t\f"), min_size=1))
def test_any_text_comes_back_as_it_is(text, tmp_path_factory):
    path = tmp_path_factory.mktemp("t") / "a.txt"
    text = "x" + text
    assert one(TextLoader(), path, text).text == text


# Markdown


def test_markdown_keeps_its_text_and_gives_title_and_metadata(tmp_path):
    document = one(MarkdownLoader(), tmp_path / "a.md", MARKDOWN)
    assert document.text == MARKDOWN
    assert (document.title, document.media_type) == ("Tea", "text/markdown")
    assert document.metadata == {"year": 1990, "tags": "green, black"}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("intro\n\n## Two ##\n", "Two"),
        ("```\n# code\n```\n# Real\n", "Real"),
        ("~~~~\n~~~\n# code\n~~~~\n# Real\n", "Real"),
        ("Old style\n=========\n", "Old style"),
        ("#hashtag\n\ntext\n\n---\n", ""),
        ("no heading at all", ""),
    ],
)
def test_the_title_is_the_first_heading(text, title):
    assert first_heading(text) == title


@pytest.mark.parametrize("front", ["- a\n- b", "a: [", "just words", "{[: x"])
def test_front_matter_that_is_none_stays_text_with_a_warning(tmp_path, front):
    text = f"---\n{front}\n---\n\n# Title\n"
    (document,), warnings = load(MarkdownLoader(), tmp_path / "a.md", text)
    assert (document.text, document.title, document.metadata) == (text, "Title", {})
    assert sum(warnings.values()) == 1


def test_front_matter_builds_no_objects_and_changes_no_words(tmp_path):
    text = "---\na: !!python/object/apply:os.system [echo]\nb: no\nc: 2020-01-02\nd: {x: 1}\ne: 'yes'\n---\ntext\n"
    document = one(MarkdownLoader(), tmp_path / "a.md", text)
    assert document.metadata == {"a": "echo", "b": "no", "c": "2020-01-02", "e": "yes"}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_toml_front_matter_gives_title_and_metadata(tmp_path, end):
    text = '+++\ntitle = "Pump"\n# draft\ndate = 2024-01-05\nversion = 1.10\n'
    text += 'tags = ["a", "b"]\nn = 3\n[x]\ny = 1\n+++\n# A\n'
    document = one(MarkdownLoader(), tmp_path / "a.md", text.replace("\n", end).encode())
    assert (document.text, document.title) == (text.replace("\n", end), "Pump")
    assert document.metadata == {"date": "2024-01-05", "version": "1.10", "tags": "a, b", "n": 3}


def test_toml_that_is_none_stays_text_with_a_warning(tmp_path):
    (document,), warnings = load(MarkdownLoader(), tmp_path / "a.md", "+++\ntitle = \n+++\n\n# Title\n")
    assert (document.title, document.metadata) == ("Title", {})
    assert warnings == {"front matter that is not a TOML mapping was left in the text and gave no metadata": 1}


# HTML


def test_html_becomes_markdown_with_its_structure(tmp_path):
    document = one(HtmlLoader(), tmp_path / "a.html", HTML)
    assert document.text == (
        "# Rivers\n\nThe **Danube** flows through ten countries.\n\n- Inn\n- Sava\n\n"
        "| River | km |\n| --- | --- |\n| Danube | 2850 |\n\n```\na  b\n  c\n```"
    )
    assert (document.title, document.media_type) == ("Rivers of Europe", "text/markdown")
    assert document.metadata == {"author": "A. B.", "language": "en"}


def test_html_that_no_standard_allows_is_still_read(tmp_path):
    broken = "<p>One <b>two <i>three</p></b><table><td>cell<ul><li>item<p>Last &amp; least &bogus; <x-y>word</x-y"
    text = one(HtmlLoader(), tmp_path / "a.html", broken).text
    for word in ("One", "two", "three", "cell", "item", "Last & least", "word"):
        assert word in text


def test_html_powers_pictures_and_chosen_elements(tmp_path):
    page = (
        "<p>2<sup>31</sup> a_b * c <img alt='A map' src=x></p><div class=side>Buy!</div><form><p>In a form.</p></form>"
    )
    assert one(HtmlLoader(drop=(".side",)), tmp_path / "a.html", page).text == "2^31 a_b * c A map\n\nIn a form."


@pytest.mark.parametrize(
    ("declaration", "codec"),
    [
        ("<meta charset=windows-1251>", "cp1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=Shift_JIS">', "shift_jis"),
        ('<?xml version="1.0" encoding="iso-8859-7"?>', "iso8859-7"),
        ("", "utf-16"),
        ("<meta charset=no-such-thing>", "utf-8"),
        ("<meta charset=utf-16>", "utf-8"),
    ],
)
def test_html_is_read_in_the_encoding_it_declares(tmp_path, declaration, codec):
    words = {"cp1251": "Дунай", "shift_jis": "ドナウ川", "iso8859-7": "Δούναβης"}.get(codec, "Dunăre")
    page = f"{declaration}<html><body><p>{words}</p></body></html>"
    assert one(HtmlLoader(), tmp_path / "a.html", page.encode(codec)).text == words


def test_html_that_calls_windows_1252_latin_1_is_read_as_browsers_do(tmp_path):
    page = "<meta charset=iso-8859-1><p>“Zoé” — 3 €</p>"
    assert one(HtmlLoader(), tmp_path / "a.html", page.encode("cp1252")).text == "“Zoé” — 3 €"


# PDF


def test_pdf_keeps_its_pages(tmp_path):
    data = pdf(["The first page.\nIts second line.", "The second page."], title="A Book")
    document = one(PdfLoader(), tmp_path / "a.pdf", data)
    assert document.text == "The first page.\nIts second line.\nThe second page.\n"
    assert document.pages == (0, document.text.index("The second"))
    assert (document.title, document.media_type) == ("A Book", "application/pdf")
    assert document.metadata == {"pages": 2, "author": "A. B.", "year": 2019}


def test_each_page_starts_where_it_says():
    assert join(iter(["ab", "", "c\n", "d"])) == ((0, 3, 4, 6), "ab\n\nc\nd\n")


def test_pages_without_text_are_counted_and_keep_their_number(tmp_path):
    (document,), warnings = load(PdfLoader(), tmp_path / "a.pdf", pdf([None, "Words.", None, "More."]))
    assert document.page_at(document.text.index("Words")) == 2
    assert document.page_at(document.text.index("More")) == 4
    assert warnings == {"a.pdf: pages without text, perhaps scans: run OCR over them (ocrmypdf)": 2}


# Word


def test_docx_becomes_markdown_in_document_order(tmp_path):
    document = one(DocxLoader(), tmp_path / "a.docx", SAMPLES["docx"][1]())
    assert document.text == (
        "# Tea\n\n# Brewing\n\nGreen tea is brewed at 80 degrees.\n\n- Warm the pot\n- Pour the water\n\n"
        "| Tea | Minutes |\n| --- | --- |\n| Sencha \\| Gyokuro | 2 |\n\nBlack tea takes longer.\n\n## History\n\n"
        "1. First step\n"
    )
    assert (document.title, document.media_type) == ("On tea", "text/markdown")
    assert document.metadata["author"] == "A. B."


# CSV


def test_csv_rows_become_lines_of_column_and_value(tmp_path):
    documents, _ = load(CsvLoader(), tmp_path / "a.csv", SAMPLES["csv"][1]())
    assert [d.text for d in documents] == [
        "id: 1\ntitle: Moon\ntext: It has no air,\nnone.\nyear: 1969",
        "id: 2\ntitle: Tea\ntext: Brewed at 80 degrees.\nyear: 007",
    ]
    assert [d.id.rpartition("#")[2] for d in documents] == ["3", "4"]
    assert [d.title for d in documents] == ["Moon", "Tea"]
    assert [d.metadata["year"] for d in documents] == ["1969", "007"]


def test_csv_settings_choose_the_columns(tmp_path):
    loader = CsvLoader(text=("text",), id="id", metadata=("year",))
    documents, _ = load(loader, tmp_path / "a.csv", SAMPLES["csv"][1]())
    assert [(d.text, d.id.rpartition("#")[2], dict(d.metadata)) for d in documents] == [
        ("It has no air,\nnone.", "1", {"year": "1969"}),
        ("Brewed at 80 degrees.", "2", {"year": "007"}),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_finds_its_delimiter(tmp_path, delimiter):
    rows = [["a", "b", "c"], ["1", "x, y; z", "2"], ["3", "p | q", "4"]]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows(rows)
    (first, _), _ = load(CsvLoader(), tmp_path / "a.csv", out.getvalue())
    assert first.text == "a: 1\nb: x, y; z\nc: 2"


def test_tsv_and_single_columns(tmp_path):
    (first,), _ = load(CsvLoader(), tmp_path / "a.tsv", "a, b\tc\n1, 2\t3\n")
    assert first.text == "a, b: 1, 2\nc: 3"
    (first,), _ = load(CsvLoader(), tmp_path / "a.csv", "note\nA plain line\n")
    assert first.text == "note: A plain line"
    (first,), _ = load(CsvLoader(quote=""), tmp_path / "b.tsv", 'a\tb\n"5 inch\tx\n')
    assert first.text == 'a: "5 inch\nb: x'


def test_ragged_and_nameless_columns_are_kept_and_counted(tmp_path):
    documents, warnings = load(CsvLoader(), tmp_path / "a.csv", "a,,a\n1,2,3,4\n5\n\n6,7,8\n")
    assert [d.text for d in documents] == [
        "a: 1\ncolumn 2: 2\na 3: 3\ncolumn 4: 4",
        "a: 5",
        "a: 6\ncolumn 2: 7\na 3: 8",
    ]
    assert warnings == {"a.csv: rows with more or fewer cells than the header has columns": 2}


CELL = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(',;"\n\r '), max_size=20)


@given(rows=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=8))
def test_csv_that_python_writes_comes_back(rows, tmp_path_factory):
    out = io.StringIO()
    csv.writer(out).writerows([("name", "text"), *[(f"n{a}", f"t{b}") for a, b in rows]])
    path = tmp_path_factory.mktemp("c") / "a.csv"
    documents, _ = load(CsvLoader(text=("text",), delimiter=","), path, out.getvalue())
    assert [d.text for d in documents] == [f"t{b}" for _, b in rows]


# JSON


def test_jsonl_finds_text_title_and_metadata(tmp_path):
    documents, _ = load(JsonlLoader(), tmp_path / "a.jsonl", SAMPLES["jsonl"][1]())
    assert [(d.id.rpartition("#")[2], d.text, d.title, dict(d.metadata)) for d in documents] == [
        ("1", "The Nile is long.", "Nile", {"year": 1999}),
        ("3", "Tea is hot.", "", {}),
    ]


@pytest.mark.parametrize(
    "data",
    [
        '[{"text": "one"}, {"content": "two"}, "three"]',
        '[\n  {"text": "one"},\n  "two",\n  {"body": "three"}\n]\n',
        '{"text": "one"}\n{"text": "two"}\n{"text": "three"}\n',
    ],
)
def test_json_files_hold_an_array_or_lines(tmp_path, data):
    documents, _ = load(JsonlLoader(), tmp_path / "a.json", data)
    assert [d.id.rpartition("#")[2] for d in documents] == ["1", "2", "3"]
    assert documents[0].text == "one"
    assert documents[2].text == "three"


def test_jsonl_settings(tmp_path):
    loader = JsonlLoader(text=("q", "a"), id="_id", title="q", metadata=("n", "absent"), media_type="text/markdown")
    (document,), _ = load(loader, tmp_path / "a.jsonl", '{"_id": "x7", "q": "Why?", "a": "Because.", "n": 3, "m": 4}')
    assert (document.id.rpartition("#")[2], document.text) == ("x7", "Why?\n\nBecause.")
    assert (document.title, document.metadata, document.media_type) == ("Why?", {"n": 3}, "text/markdown")


def test_what_no_store_can_keep_is_replaced_and_counted(tmp_path):
    line = r'{"text": "a\u0000b\ud800c", "title": "\udfff", "k": "\ud83d", "big": 99999999999999999999, "inf": 1e999}'
    (document,), warnings = load(JsonlLoader(), tmp_path / "a.jsonl", line)
    assert (document.text, document.title) == ("a\ufffdb\ufffdc", "\ufffd")
    assert document.metadata == {"k": "\ufffd", "big": "99999999999999999999", "inf": "inf"}
    assert sum(warnings.values()) == 1


def test_line_separators_inside_strings_do_not_end_a_line(tmp_path):
    text = "one\u2028two\u0085three\x1dfour"
    (document,), _ = load(
        JsonlLoader(), tmp_path / "a.jsonl", json.dumps({"text": text}, ensure_ascii=False)[:-1] + "}"
    )
    assert document.text == text


def test_records_are_streamed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "good"}\nnot json\n')
    documents = JsonlLoader().load(path)
    assert next(documents).text == "good"


def test_skipped_lines_are_counted(tmp_path):
    data = '{"text": "one", "id": 1}\nnot json\n[1]\n{"text": 5, "id": 2}\n{"text": "again", "id": 1}\n'
    data += '{"text": " ", "id": 3}\n'
    documents, warnings = load(JsonlLoader(bad_lines="skip", id="id"), tmp_path / "a.jsonl", data)
    assert [d.text for d in documents] == ["one"]
    assert warnings == {
        "a.jsonl: lines skipped as unusable (bad_lines: skip)": 4,
        "a.jsonl: records without text skipped": 1,
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [("1990", 1990), ("-3", -3), (" 2.5 ", 2.5), ("1.10", "1.10"), ("-0", "-0"),
     ("007", "007"), ("1e999", "1e999"), ("true", True), ("No", "No"),
     ("2020-01-02", "2020-01-02"), ("1" * 30, "1" * 30), ("1.5e3", "1.5e3"), ("", ""),
     (str(2**53), 2**53), (str(2**53 + 1), str(2**53 + 1)), ("0.1234567890123456789", "0.1234567890123456789"),
     ("٣", "٣"), ("1.0", 1.0), ("+49", "+49")],
)  # fmt: skip
def test_scalars_are_numbers_only_where_nothing_is_lost(text, value):
    assert scalar(text) == value
    assert type(scalar(text)) is type(value)


def test_nested_fields_of_records_are_left_out_by_name(tmp_path):
    lines = '{"text": "a", "tags": ["x"], "meta": {"k": 1}, "none": []}\n{"text": "b", "tags": ["y"]}\n'
    documents, warnings = load(JsonlLoader(), tmp_path / "a.jsonl", lines)
    assert [d.metadata for d in documents] == [{}, {}]
    assert warnings == {
        "a.jsonl: field 'tags', which holds lists or objects, left out of the metadata": 2,
        "a.jsonl: field 'meta', which holds lists or objects, left out of the metadata": 1,
    }
