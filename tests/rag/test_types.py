"""The words of the ground floor keep their laws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea import Answer, Chunk, Citation, Document, Hit, Sentence, Span


@given(st.text(max_size=80), st.data())
def test_a_chunk_is_a_slice_of_its_document(text, data):
    document = Document("d", text, source="d.txt")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    chunk = document.chunk(Span(start, end))
    assert document.text[chunk.start : chunk.end] == chunk.text


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (3, 2)])
def test_a_span_that_cannot_be_is_refused(start, end):
    with pytest.raises(ValueError, match=r"0 <= start <= end, got"):
        Span(start, end)


def test_a_chunk_is_named_by_its_content_and_place():
    one = Chunk("d", 0, 3, "abc")
    assert one.id == Chunk("d", 0, 3, "abc", source="elsewhere").id
    others = [Chunk("e", 0, 3, "abc"), Chunk("d", 1, 4, "abc"), Chunk("d", 0, 3, "abd"), Chunk("d", 0, 4, "abc")]
    assert len({one.id, *(c.id for c in others)}) == 5


def test_the_name_of_a_chunk_is_the_same_on_every_machine():
    assert Chunk("library/a.md", 10, 15, "né 猫!").id == "50819bac5517bbcd03aa1128"


def test_pages_are_found_by_offset():
    document = Document("d", "x" * 30, pages=(0, 10, 20))
    assert [document.page_at(i) for i in (0, 9, 10, 29)] == [1, 1, 2, 3]
    assert Document("d", "x").page_at(0) is None
    assert document.chunk(Span(12, 15)).where == "d:12-15 p.2"


def test_a_hit_remembers_what_every_stage_said():
    hit = Hit(Chunk("d", 0, 1, "a"), 0.0).scored("dense", 0.5).scored("bm25", 7.0)
    assert (hit.score, dict(hit.scores)) == (7.0, {"dense": 0.5, "bm25": 7.0})


def test_an_answer_lists_each_citation_once_and_names_the_unsupported():
    cited = Citation("d", 0, 1, "a")
    answer = Answer("A. B. C.", (Sentence(0, 2, "A.", (cited,)), Sentence(3, 5, "B.", (cited,)), Sentence(6, 8, "C.")))
    assert answer.citations == (cited,)
    assert [s.text for s in answer.unsupported] == ["C."]
    plain = answer.to_dict()
    assert [s["citations"] for s in plain["sentences"]] == [[1], [1], []]
    assert [s["supported"] for s in plain["sentences"]] == [True, True, False]


@pytest.mark.parametrize(("offset", "line"), [(0, 1), (1, 1), (2, 2), (5, 3), (7, 4), (10, 6)])
def test_a_line_ends_as_editors_end_it(offset, line):
    assert Document("d", "a\nb\r\nc\rd\n\ne").line_at(offset) == line


def test_a_citation_says_its_line_and_page_behind_its_characters():
    cited = Citation("d", 3, 9, "a", "tea.pdf", page=2, line=7)
    assert cited.where == "tea.pdf:3-9 line 7 p.2"
    assert Citation("d", 3, 9, "a").where == "d:3-9"
