"""LangChain splitters as segmenters: every piece is found where it is, or counted in a warning."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from fovea.rag.errors import DocumentError
from fovea.rag.segmenter import Segmenter
from fovea.rag.testing.segmenters import HOSTILE, check_laws
from fovea.rag.trace import Trace
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.locate import locate
from tests.tokenizers_of_tests import encoder

langchain = pytest.importorskip("langchain_text_splitters", reason="needs fovea-rag[peers]")


def recursive(size, overlap, **settings):
    return langchain.RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=overlap, **settings)


def adapted(splitter) -> Segmenter:
    return TypeAdapter(Segmenter).validate_python(splitter)


@pytest.mark.parametrize("overlap", [0, 30])
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_laws(text, overlap):
    chunks = segment(Document("d", text), [adapted(recursive(90, overlap))], encoder("words"))
    check_laws(text, chunks, encoder("words").tokenizer.count)


def test_the_encoder_window_holds_for_large_pieces():
    document = Document("d", "word " * 200)
    chunks = segment(document, [adapted(recursive(600, 0))], encoder("words", 40))
    check_laws(document.text, chunks, encoder("words").tokenizer.count, 40)


def test_a_splitters_own_overlap_is_warned_of():
    trace = Trace()
    with trace.stage("segment"):
        segment(Document("d", HOSTILE["plain"] * 4), [adapted(recursive(60, 30))], encoder("words"))
    assert any("overlap of a LangChain splitter" in w for w in trace.warnings)


def test_repeated_paragraphs_each_get_their_own_place():
    paragraph = "The same words, again and again.\n\n"
    spans = locate(paragraph * 5, [paragraph.strip()] * 5)
    assert [s.start for s in spans] == [i * len(paragraph) for i in range(5)]


@given(
    st.text("ab \n", min_size=1, max_size=60),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 8)), min_size=1, max_size=30),
)
def test_pieces_with_any_overlap_are_located(text, steps):
    pieces, end = [], 0
    for size, back in steps:
        start = max(0, end - back) if pieces else 0
        if start + size <= end:
            continue
        pieces.append(text[start : start + size])
        end = start + size
    pieces.append(text[max(0, end - 2) :])
    wanted = [p.strip() for p in pieces if p.strip()]
    if text[end:].strip():
        wanted = [*wanted[:-1], text[end:].strip()]
    try:
        spans = locate(text, wanted)
    except DocumentError:
        assert not _possible(text, wanted), "there is a way to lay them out"
        return
    assert [text[s.start : s.end] for s in spans] == wanted
    assert all(a.start < b.start for a, b in pairwise(spans))
    covered = {at for s in spans for at in range(s.start, s.end)}
    assert all(at in covered or char.isspace() for at, char in enumerate(text))


def _possible(text, wanted):
    """Whether the pieces can be laid out, by trying everything."""
    reached = {(-1, 0)}
    for piece in wanted:
        reached = {
            (at, at + len(piece))
            for last, end in reached
            for at in range(last + 1, len(text) - len(piece) + 1)
            if text.startswith(piece, at) and not text[end:at].strip()
        }
    return any(not text[end:].strip() for _, end in reached)


class Changed(langchain.TextSplitter):
    """Splits as told, and changes every piece."""

    def __init__(self, pieces, change=lambda piece: piece):
        super().__init__()
        self.pieces = [change(piece) for piece in pieces]

    def split_text(self, text):
        return self.pieces


PROSE = "# Tea\n\nGreen  tea is brewed\nat 80 degrees.  Black tea\ttakes\n\n  boiling water. White tea is rare."
PIECES = [PROSE[:31], PROSE[31:60], PROSE[60:77], PROSE[77:]]


@pytest.mark.parametrize(
    "change",
    [lambda p: " ".join(p.split()), lambda p: "\n\n".join(p.split()), lambda p: "".join(p.split()), str.upper,
     str.strip, lambda p: p.replace("\n", "\r\n"), lambda p: " ".join(p.lower())],
)  # fmt: skip
def test_white_space_and_case_of_pieces_may_differ(change):
    trace = Trace()
    with trace.stage("segment"):
        chunks = segment(Document("d", PROSE), [adapted(Changed(PIECES, change))], encoder("words"))
    assert [c.text for c in chunks] == [p.strip() for p in PIECES]
    check_laws(PROSE, chunks, encoder("words").tokenizer.count)
    assert not trace.warnings


@pytest.mark.parametrize(
    ("splitter", "starts"),
    [
        (langchain.CharacterTextSplitter(separator=". ", chunk_size=30, chunk_overlap=0), ["One", "Three", "Five"]),
        (recursive(30, 0, separators=[". "], keep_separator=False), ["One", "Three", "Five"]),
    ],
)
def test_separators_may_be_dropped(splitter, starts):
    text = "One is here. Two is there. Three is far. Four is near. Five is out."
    chunks = segment(Document("d", text), [adapted(splitter)], encoder("words"))
    check_laws(text, chunks, encoder("words").tokenizer.count)
    assert [c.text.lstrip(". ").split()[0] for c in chunks] == starts


def test_pieces_that_are_not_found_are_counted_and_their_part_is_cut_by_structure():
    text = "First part, kept.\n\nSecond one. It is\nrewritten.\n\n# Third\n\nGone as well. " + "Last part, kept."
    pieces = ["First part, kept.", "Part two was rewritten entirely.", "So was this.", "Last part, kept."]
    trace = Trace()
    with trace.stage("segment"):
        chunks = segment(Document("d", text, media_type="text/markdown"), [adapted(Changed(pieces))], encoder("words"))
    check_laws(text, chunks, encoder("words").tokenizer.count)
    assert (chunks[0].text, chunks[-1].text) == ("First part, kept.", "Last part, kept.")
    assert [n for w, n in trace.warnings.items() if "not found" in w] == [2]


@pytest.mark.parametrize("pieces", [[], ["QUITE"], ["other", "words"], ["a"] * 50], ids=str)
def test_a_splitter_that_gives_another_text_does_not_fail_the_document(pieces):
    text = "Some words, here.\n\n" * 30
    chunks = segment(Document("d", text), [adapted(Changed(pieces))], encoder("words", 40))
    check_laws(text, chunks, encoder("words").tokenizer.count, 40)


@given(st.text("ab. \n", min_size=1, max_size=60), st.lists(st.text("ab. \nX", max_size=9), max_size=12))
def test_whatever_the_pieces_the_chunks_are_slices(text, pieces):
    chunks = segment(Document("d", text), [adapted(Changed(pieces))], encoder("words"))
    check_laws(text, chunks, encoder("words").tokenizer.count)


def test_pieces_that_leave_out_the_end_or_everything_are_errors():
    with pytest.raises(DocumentError, match="leave out the end"):
        locate("one two", ["one"])
    with pytest.raises(DocumentError, match="no pieces"):
        locate("one two", [])
    assert locate("  \n", []) == []


def test_fingerprints_tell_splitters_apart():
    prints = {adapted(recursive(size, 0, separators=list(s))).fingerprint for size in (50, 60) for s in ("ab", "a")}
    assert len(prints) == 4
    assert adapted(recursive(50, 0)).fingerprint == adapted(recursive(50, 0)).fingerprint


@pytest.mark.parametrize("thing", ["RecursiveCharacterTextSplitter", 3, object()])
def test_other_things_are_refused(thing):
    with pytest.raises(ValidationError, match="TextSplitter object"):
        TypeAdapter(Segmenter).validate_python({"use": "langchain", "splitter": thing})
