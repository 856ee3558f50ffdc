"""Embedding breakpoints: the four rules by hand, and a change of subject that they find."""

import numpy as np
import pytest
from pydantic import ValidationError

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.sentences import sentences
from fovea.rag.types import Document
from fovea.segmenters.chain import segment
from fovea.segmenters.embedding_breakpoint import EmbeddingBreakpointSegmenter, distances, outliers
from fovea.segmenters.units import Units

RIVER = "The river rose at night. The river took the bridge. The river left the mill. The river fell at dawn. "
BREAD = "Bread needs flour. Bread needs yeast and salt. Bread needs time and warm hands. Bread needs an oven."


def test_rules_by_hand():
    d = np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1])
    only = [i == 8 for i in range(10)]
    assert outliers(d, "percentile", 95).tolist() == only
    assert outliers(d, "interquartile", 1.5).tolist() == only
    assert outliers(d, "standard_deviation", 2).tolist() == only
    assert outliers(d, "standard_deviation", 3).tolist() == [False] * 10, "mean .18, deviation .24: .9 is within three"
    assert outliers(d, "gradient", 95).tolist() == [i == 7 for i in range(10)], "the gradient peaks before the jump"
    assert outliers(np.array([0.4]), "gradient", 95).tolist() == [False]
    assert outliers(np.full(5, 0.3), "percentile", 95).tolist() == [False] * 5


@pytest.mark.parametrize("buffer", [0, 1, 2])
def test_distances_are_those_of_sentence_groups(buffer):
    encoder, text = HashEncoder(), RIVER + BREAD
    spans = sentences(text)
    groups = [text[spans[max(0, i - buffer)].start : spans[min(7, i + buffer)].end] for i in range(8)]
    vectors = encoder.encode(groups)
    expected = [1 - float(vectors[i] @ vectors[i + 1]) for i in range(7)]
    assert distances(text, spans, encoder, buffer) == pytest.approx(expected, abs=1e-6)


def test_it_cuts_where_the_subject_changes():
    chunks = segment(Document("d", RIVER + BREAD), [EmbeddingBreakpointSegmenter(buffer=0)], HashEncoder())
    assert [c.text for c in chunks] == [RIVER.strip(), BREAD]


def test_under_a_budget_the_greatest_distances_serve():
    text = RIVER + BREAD
    chunks = segment(Document("d", text), [EmbeddingBreakpointSegmenter(max_tokens=26, buffer=0)], HashEncoder())
    assert any(c.start == len(RIVER) for c in chunks), "the change of subject is still a cut"
    assert all(HashEncoder().tokenizer.count(c.text) <= 26 for c in chunks)


@pytest.mark.parametrize("text", ["", "One sentence only.", " \n "])
def test_texts_without_joins(text):
    assert list(EmbeddingBreakpointSegmenter().cuts(text, Document("d", text), HashEncoder())) == []


@pytest.mark.parametrize("settings", [{"threshold": "median"}, {"amount": 0}, {"amount": 101}, {"buffer": -1}])
def test_settings_that_cannot_work_are_refused(settings):
    with pytest.raises(ValidationError):
        EmbeddingBreakpointSegmenter(**settings)


def test_given_units_are_cut_where_their_distances_are_outliers_or_greatest():
    texts = ["the river rose", "the river fell", "the river bed", "bread and butter", "bread and jam", "bread alone"]
    units, segmenter = Units.given(texts), EmbeddingBreakpointSegmenter(buffer=0, amount=80)
    assert segmenter.boundaries(units, HashEncoder()).tolist() == [False, False, True, False, False]
    found = segmenter.boundaries(units, HashEncoder(), count=3)
    assert found.sum() == 3
    assert found[2]
