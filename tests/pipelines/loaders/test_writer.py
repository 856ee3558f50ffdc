"""What is written is read back: headings, rows and items are those that were written, and words stay words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.loaders.scripts import END, SUP, resolved
from fovea.pipelines.loaders.writer import Writer
from fovea.rag.headings import headings
from fovea.rag.markdown import lines
from fovea.rag.tables import tables

TRICKY = st.text(alphabet="#`~|<>-=+*_[]() \n12.)ab\\", max_size=40)


def heads(text: str) -> list[str]:
    return [heading.words for heading in headings(text, "text/markdown")]


def test_blocks_are_parted_by_blank_lines_and_items_by_line_ends():
    writer = Writer()
    writer.heading(1, "One")
    writer.item("a")
    writer.item("b\nmore", marker="2.2", depth=1)
    writer.paragraph("text\n")
    writer.code("x = 1\n  y\n", "py")
    writer.table([["a|b", "c"], ["", ""], ["d"]])
    assert writer.text == (
        "# One\n\n- a\n  2.2 b\n      more\n\ntext\n\n```py\nx = 1\n  y\n```\n\n"
        "| a\\|b | c |\n| --- | --- |\n| d |  |\n"
    )


@given(st.lists(TRICKY, max_size=4))
def test_paragraphs_items_and_code_hold_no_headings_and_no_fences(texts):
    writer = Writer()
    for text in texts:
        writer.paragraph(text)
        writer.item(text)
        writer.code(text)
    writer.heading(2, "End")
    assert heads(writer.text) == ["End"]


@pytest.mark.parametrize(
    "words",
    ["List<int>", "a*b*c", "C #", "#", "[x](y)", "snake_case_name", "`x`", "R&amp;D", r"C:\#x", "x {#y}"],
)
def test_the_words_of_a_heading_come_back(words):
    writer = Writer()
    writer.heading(9, words)
    assert heads(writer.text) == [words]


@given(st.text(alphabet="#`~|<>*_[]() ab\\&;!{}", min_size=1, max_size=30))
def test_any_heading_comes_back(words):
    writer = Writer()
    writer.heading(1, words)
    assert heads(writer.text) == ([" ".join(words.split())] if words.strip() else [])


def test_pages_start_where_their_first_block_does():
    writer = Writer()
    for text in ("a", "b"):
        writer.page()
        writer.paragraph(text)
    writer.page()
    assert writer.pages == (0, 3, 4)
    assert writer.text[3:] == "b\n"


def test_no_line_of_a_paragraph_is_a_row():
    writer = Writer()
    writer.paragraph("| a |\n> | b\n1. | c")
    assert {line.kind for line in lines(writer.text)} <= {"text", "item"}


def test_short_rows_are_not_filled_up_where_that_would_be_most_of_the_table():
    writer = Writer()
    writer.table([["a"] * 500, *[["b"]] * 500])
    head, rule, *rows = writer.text.splitlines()
    assert (head.count("|"), rule.count("|")) == (501, 501)
    assert rows == ["| b |"] * 500
    (table,) = tables(writer.text, "text/markdown")
    assert writer.text[table.rows.start : table.rows.end] == "\n".join(rows)


def test_items_are_set_in_only_so_far():
    writer = Writer()
    for depth in (39, 40, 41, 5000):
        writer.item("a", depth=depth)
    assert [len(line) - len(line.lstrip()) for line in writer.text.splitlines()] == [78, 80, 80, 80]


def test_what_is_raised_in_raised_words_without_end_is_read_on():
    assert resolved(f"a{SUP}1" * 3) == "a^(1a^(1a^1))"
    deep = resolved(f"a{SUP}1" * 5000)
    assert deep.count("a") == deep.count("1") == 5000
    assert deep.count("^") == 10
    assert resolved(f"x{SUP}" * 30 + "y" + END * 30 + "z").endswith("z")
