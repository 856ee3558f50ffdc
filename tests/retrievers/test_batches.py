"""Batches of like length: nothing is lost, nothing is padded much, and no two documents share a sequence."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.rag.tokens import WordTokenizer
from fovea.retrievers.collections.read import read
from fovea.retrievers.training.batches import by_length
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


def padding(lengths, batches):
    """The share of padded batches' tokens that are padding."""
    sizes = np.asarray(lengths, int)
    held = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 1 - sum(int(sizes[batch].sum()) for batch in batches) / held


def unsorted(lengths):
    order = np.random.default_rng(0).permutation(len(lengths))
    return [order[at : at + 32] for at in range(0, len(lengths), 32)]


def test_little_is_padded_where_lengths_vary_much():
    lengths = np.random.default_rng(1).lognormal(4.2, 0.8, 4000).clip(5, 500).astype(int).tolist()
    assert padding(lengths, by_length(lengths, 8192, 0)) < 0.05
    assert padding(lengths, unsorted(lengths)) > 0.3


@pytest.mark.skipif(not SHARED.exists(), reason="needs shared data")
def test_little_is_padded_of_articles():
    chunks = read(SHARED / "data/temporal/timeqa/human_annotated_train.json").chunks
    lengths = [WordTokenizer().count(chunk.text) for chunk in chunks]
    assert padding(lengths, by_length(lengths, 8192, 0)) < 0.05
    assert padding(lengths, unsorted(lengths)) > 0.3
