"""The Porter stemmer against Snowball's, in PyStemmer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.segmenters.porter import stem

ENDINGS = [
    "s",
    "ed",
    "ing",
    "eed",
    "ly",
    "ies",
    "ational",
    "izer",
    "fulness",
    "iviti",
    "icate",
    "ness",
    "ement",
    "tion",
    "sion",
    "ism",
    "ous",
    "ive",
    "ize",
    "y",
    "e",
    "ll",
]


@given(st.text("abcdeilnorstuvwxyz", min_size=1, max_size=6), st.lists(st.sampled_from(ENDINGS), max_size=3))
def test_equal_to_snowballs_porter(start, endings):
    other = pytest.importorskip("Stemmer", reason="needs PyStemmer").Stemmer("porter")
    if len(word := start + "".join(endings)) > 2:
        assert stem(word) == other.stemWord(word)
