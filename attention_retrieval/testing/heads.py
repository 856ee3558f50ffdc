"""What every policy of heads must keep to: `check_heads(MyHeads(...), layers, query_heads, kv_heads)` runs it all."""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.heads.heads import Heads
from fovea.rag.errors import FoveaError


def check_heads(heads: Heads, layers: int, query_heads: int, kv_heads: int) -> None:
    """Raise AssertionError, saying what is wrong, unless `heads` keeps to the contract for a model of this shape."""
    heads.check(layers, query_heads, kv_heads)
    for layer in range(layers):
        before = np.zeros(kv_heads, np.int64)
        for tokens in (1, 10, 1000, 100_000):
            windows = heads.windows(layer, kv_heads, tokens)
            assert windows.dtype == np.int64, "windows are int64"
            assert windows.shape == (kv_heads,), "one for each kv head"
            assert windows.min() >= 1, "a head sees its own token at least"
            assert (windows >= before).all(), "a longer text makes no window smaller"
            again = heads.windows(layer, kv_heads, tokens)
            np.testing.assert_array_equal(windows, again, err_msg="the same arguments give the same windows")
            before = windows
            _check_budgets(heads, layer, kv_heads, tokens)
    try:
        heads.check(layers + 1, query_heads, kv_heads)
    except FoveaError:
        return
    raise AssertionError("a policy for heads of a model of another shape is taken")


def _check_budgets(heads: Heads, layer: int, kv_heads: int, tokens: int) -> None:
    """They sum to what there is, and a head that looks further has no less."""
    windows = np.minimum(heads.windows(layer, kv_heads, tokens), tokens)
    for share in (0.0, 0.1, 0.5, 1.0, 2.0):
        total = int(share * kv_heads * tokens)
        budgets = heads.budgets(layer, kv_heads, total, tokens)
        assert budgets.dtype == np.int64, "budgets are int64"
        assert budgets.shape == (kv_heads,), "a budget for each kv head"
        assert budgets.min() >= 1, "a head keeps a row at least"
        assert budgets.max() <= tokens, "no head keeps more rows than there are"
        assert budgets.sum() == min(max(total, kv_heads), kv_heads * tokens), "budgets sum to the total"
        assert (np.diff(budgets[np.argsort(windows)]) >= -1).all(), "a head that looks further keeps no less"
