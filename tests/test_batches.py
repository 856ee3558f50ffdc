"""Batches of like length: nothing is lost, nothing is padded much, and no two documents share a sequence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import ConfigError
from rag.tokens import WordTokenizer
from retrievers.collections.read import read
from retrievers.training.batches import by_length, decomposed, of_one_length, padding
from tests.conftest import SHARED

LENGTHS = st.lists(st.integers(1, 300), max_size=60)


@given(LENGTHS, st.sampled_from([256, 1024]), st.integers(0, 3))
def test_whole_texts_come_once_and_fit(lengths, tokens, seed):
    batches = by_length(lengths, tokens, seed)
    assert sorted(row for batch in batches for row in batch.tolist()) == list(range(len(lengths)))
    for batch in batches:
        sizes = [lengths[row] for row in batch]
        assert len(batch) * max(sizes) <= tokens or len(batch) == 1
    again = by_length(lengths, tokens, seed)
    assert all(np.array_equal(a, b) for a, b in zip(batches, again))


@given(LENGTHS, st.sampled_from([1, 8, 64, 256]))
def test_decomposition_is_lossless(lengths, longest):
    pieces = list(decomposed(lengths, longest))
    for text, length in enumerate(lengths):
        own = [p for p in pieces if p.text == text]
        assert [i for p in own for i in range(p.start, p.start + p.size)] == list(range(length))
        assert [p.size for p in own] == sorted((p.size for p in own), reverse=True)
        assert sum(p.size < longest for p in own) <= longest.bit_length()
    assert all(p.size & (p.size - 1) == 0 and p.size <= longest for p in pieces)


@given(LENGTHS, st.integers(0, 2))
def test_batches_of_pieces_have_one_length_and_cost_the_same(lengths, seed):
    pieces = list(decomposed(lengths, 128))
    batches = of_one_length(pieces, 256, seed)
    assert sorted(p for batch in batches for p in batch) == sorted(pieces)
    assert all(len({p.size for p in batch}) == 1 for batch in batches)
    full = [sum(p.size for p in batch) == 256 for batch in batches]
    assert full.count(False) <= len({p.size for p in pieces}), "only the last batch of a length holds fewer"


def test_mistakes():
    with pytest.raises(ConfigError, match="a power of two, such as 128"):
        list(decomposed([5], 100))
    with pytest.raises(ConfigError, match="cannot be made of pieces of 64"):
        of_one_length(list(decomposed([64], 64)), 96, 0)


def unsorted(lengths):
    order = np.random.default_rng(0).permutation(len(lengths))
    return [order[at : at + 32] for at in range(0, len(lengths), 32)]


def test_little_is_padded_where_lengths_vary_much():
    lengths = np.random.default_rng(1).lognormal(4.2, 0.8, 4000).clip(5, 500).astype(int).tolist()
    assert padding(lengths, by_length(lengths, 8192, 0)) < 0.05
    assert padding(lengths, unsorted(lengths)) > 0.3
    assert padding([4, 2], [np.array([0, 1])]) == 0.25


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared data")
def test_little_is_padded_of_articles():
    chunks = read(SHARED / "data/temporal/timeqa/human_annotated_train.json").chunks
    lengths = [WordTokenizer().count(chunk.text) for chunk in chunks]
    assert padding(lengths, by_length(lengths, 8192, 0)) < 0.05
    assert padding(lengths, unsorted(lengths)) > 0.3
    assert list(decomposed(lengths[:50], 512)) == list(decomposed(lengths[:50], 512))
