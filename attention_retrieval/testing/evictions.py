"""What every eviction must keep to: `check_eviction(MyEviction(keep=64))` runs it all, in a second.

Give it settings that drop rows of a text of 700. What an eviction does to a real model's answers is measured by
`fovea bench longcontext`.
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.eviction.eviction import Eviction
from fovea.attention_retrieval.testing.selections import HEADS, D, Layer, layer

GROUP = 3


def check_eviction(eviction: Eviction) -> None:
    """Raise AssertionError, saying what is wrong, unless `eviction` keeps to the contract."""
    text = layer(700)
    asked = queries(text, eviction.queries)
    kept = eviction.kept(text.keys, text.values, asked)
    assert kept is not None, "rows of a text of 700 are dropped"
    assert kept.dtype == np.int64, "ids are int64"
    assert kept.shape[0] == HEADS, "(kv heads, rows)"
    assert 0 < kept.shape[1] < 700, "some rows stay, some go"
    assert (np.diff(kept, axis=1) > 0).all(), "ids ascend, each once"
    assert kept.min() >= 0, "rows of the text"
    assert kept.max() < 700, "rows of the text"
    again = eviction.kept(text.keys, text.values, asked)
    np.testing.assert_array_equal(kept, again, err_msg="the same arguments keep the same rows")
    for tokens in (1, 2, 5):
        few = layer(tokens)
        kept = eviction.kept(few.keys, few.values, queries(few, min(eviction.queries, tokens)))
        assert kept is None or kept.shape[1] <= tokens, "a short text"


def queries(text: Layer, count: int) -> np.ndarray | None:
    """Queries of the text's last `count` tokens, (kv heads, group, count, d)."""
    if not count:
        return None
    asked = text.asked(GROUP * count, seed=1)
    return np.ascontiguousarray(asked.reshape(HEADS, GROUP, count, D))
