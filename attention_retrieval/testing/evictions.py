"""What every eviction must keep to: `check_eviction(MyEviction(keep=64))` runs it all, in a second.

Give it settings that drop rows of a text of 700. What an eviction does to a real model's answers is measured by
`fovea bench longcontext`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.attention_retrieval.eviction.eviction import Eviction, Shares
from fovea.attention_retrieval.ragged import left
from fovea.attention_retrieval.testing.selections import HEADS, D, Layer, layer

GROUP = 3


def check_eviction(eviction: Eviction) -> None:
    """Raise AssertionError, saying what is wrong, unless `eviction` keeps to the contract."""
    text = layer(700)
    asked = queries(text, eviction.queries)
    kept = eviction.kept(text.keys, text.values, asked)
    assert kept is not None, "rows of a text of 700 are dropped"
    _check_rows(kept, text.keys.lengths)
    assert all(len(mine) < 700 for mine in kept), "some rows go"
    again = eviction.kept(text.keys, text.values, asked)
    assert again is not None, "the same arguments keep the same rows"
    for mine, other in zip(kept, again):
        np.testing.assert_array_equal(mine, other, err_msg="the same arguments keep the same rows")
    _check_ragged(eviction, text)
    _check_budgets(eviction, text)
    for tokens in (1, 2, 5):
        few = layer(tokens)
        kept = eviction.kept(few.keys, few.values, queries(few, min(eviction.queries, tokens)))
        assert kept is None or all(len(mine) <= tokens for mine in kept), "a short text"


def _check_rows(kept: Sequence[np.ndarray], lengths: np.ndarray) -> None:
    assert len(kept) == HEADS, "rows of each kv head"
    for mine, rows in zip(kept, lengths):
        assert mine.dtype == np.int64, "ids are int64"
        assert 0 < len(mine) <= rows, "some rows stay"
        assert (np.diff(mine) > 0).all(), "ids ascend, each once"
        assert mine.min() >= 0, "rows of the text"
        assert mine.max() == rows - 1, "the last row stays"


def _check_ragged(eviction: Eviction, text: Layer) -> None:
    """Heads that hold different rows."""
    rows = [np.arange(700), np.arange(20, 700, 2)]
    keys, values = left(text.keys, rows), left(text.values, rows)
    kept = eviction.kept(keys, values, queries(text, eviction.queries))
    if kept is not None:
        _check_rows(kept, keys.lengths)


def _check_budgets(eviction: Eviction, text: Layer) -> None:
    """Where the policy of heads says how many rows each head may keep, no head keeps more."""
    budgets = eviction.budgets(Shares(700, np.array([700, 40]), lambda total: np.array([total - 150, 150])))
    if budgets is not None:
        kept = eviction.kept(text.keys, text.values, queries(text, eviction.queries), budgets)
        assert kept is not None, "a head with a small budget drops rows"
        _check_rows(kept, text.keys.lengths)
        assert [len(mine) for mine in kept] == np.minimum(budgets, 700).tolist(), "as many as the budgets"


def queries(text: Layer, count: int) -> np.ndarray | None:
    """Queries of the text's last `count` tokens, (kv heads, group, count, d)."""
    if not count:
        return None
    asked = text.asked(GROUP * count, seed=1)
    return np.ascontiguousarray(asked.reshape(HEADS, GROUP, count, D))
