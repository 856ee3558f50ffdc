"""What holds for every segmenter that scores gaps: hostile texts, exact counts, linear time, bounded memory."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.testing.segmenters import HOSTILE, MEDIA_TYPES, check_chunks, check_cuts
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.units import Units
from tests.gap_fixtures import CHEAP, gap_segmenters, label, sentences_of
from tests.growth import MOST, TIMES, growth

ALL = list(gap_segmenters())
every = pytest.mark.parametrize("segmenter", ALL, ids=label)

TWENTY = sentences_of(20)
HEADINGS = 2_000
DOCUMENTS = {
    "empty": Document("d", ""),
    "one sentence": Document("d", "Only one sentence stands here."),
    "two equal sentences": Document("d", "Twice. Twice."),
    "all equal": Document("d", "The same again. " * 500),
    "only stop words": Document("d", "It was so. And then it was not. Who is he? " * 20),
    "no paragraphs": Document("d", " ".join(sentences_of(1500))),
    "all paragraphs": Document("d", "\n\n".join(sentences_of(300))),
}


@every
@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_documents(segmenter, name):
    document = DOCUMENTS[name]
    check_cuts(segmenter, document, CHEAP)
    cuts = list(segmenter.cuts(document.text, document, CHEAP))
    assert cuts == list(segmenter.cuts(document.text, document, CHEAP))
    assert bool(cuts) == (name not in ("empty", "one sentence"))


@every
def test_thousands_of_headings(segmenter):
    text = "".join(f"# H {i}\n\nIt is {i}.\n\n" for i in range(HEADINGS))
    cuts = list(segmenter.cuts(text, Document("d", text, media_type="text/markdown"), CHEAP))
    places = [at for at, _ in cuts]
    assert places == sorted(set(places))
    assert places[0] > 0
    assert sum(score == 1 and text.startswith("# H", at) for at, score in cuts) == HEADINGS - 1
    assert all(0 < score < 1 for at, score in cuts if text.startswith("It", at)), "a heading stays with its text"


@every
@pytest.mark.parametrize("name", HOSTILE)
def test_any_script_and_kind(segmenter, name):
    for media_type in MEDIA_TYPES:
        check_cuts(segmenter, Document("d", HOSTILE[name], media_type=media_type), CHEAP)


@every
def test_a_sentence_of_a_megabyte(segmenter):
    assert list(segmenter.cuts("word " * 200_000, Document("d", ""), CHEAP)) == []


def test_a_sentence_of_a_megabyte_is_packed():
    document = Document("d", "word " * 200_000)
    capped = ALL[0].model_copy(update={"max_tokens": 400})
    chunks = segment(document, [capped], CHEAP)
    assert len(chunks) == 500
    check_chunks(chunks, document, capped, CHEAP)


@every
@given(st.data())
def test_exactly_as_many_boundaries_as_asked_for(segmenter, data):
    texts = data.draw(st.lists(st.sampled_from([*TWENTY, "It is.", "!", "春眠不觉晓。"]), min_size=2, max_size=40))
    paragraphs = data.draw(st.lists(st.booleans(), min_size=len(texts) - 1, max_size=len(texts) - 1))
    units = Units.given(texts, paragraphs)
    count = data.draw(st.integers(0, len(texts) - 1))
    found = segmenter.boundaries(units, CHEAP, count)
    assert found.dtype == bool
    assert found.shape == (len(texts) - 1,)
    assert found.sum() == count
    scores = segmenter.scores(units, CHEAP)
    assert scores.shape == found.shape
    assert ((scores >= 0) & (scores <= 1)).all()
    assert (segmenter.boundaries(units, CHEAP, count) == found).all()


@every
def test_candidates_are_kept_to(segmenter):
    paragraphs = np.arange(59) % 3 == 2
    units = Units.given(sentences_of(60), paragraphs)
    assert not segmenter.boundaries(units, CHEAP)[~paragraphs].any(), "there are paragraphs, so they count"
    only = segmenter.model_copy(update={"candidates": "paragraphs"})
    assert not only.boundaries(units, CHEAP, 10)[~paragraphs].any()
    assert only.boundaries(units, CHEAP, 40).sum() == 40, "a known number counts for more"


MANY, SOME = 4_000, Units.given(sentences_of(4_000))
MEMORY = 13 * 1024**2
"""Bytes that scoring 4,000 units may take at its peak: a byte for every pair of them would be 15 MiB."""


@every
def test_time_is_linear(segmenter):
    def scoring(size: int):
        units = Units.given(sentences_of(size))
        return lambda: segmenter.boundaries(units, CHEAP)

    assert growth(scoring, MANY // TIMES) < MOST


@every
def test_memory_is_bounded(segmenter):
    tracemalloc.start()
    try:
        segmenter.boundaries(SOME, CHEAP)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak / 1024**2:.0f} MiB"
