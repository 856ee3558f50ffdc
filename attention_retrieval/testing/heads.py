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
    try:
        heads.check(layers + 1, query_heads, kv_heads)
    except FoveaError:
        return
    raise AssertionError("a policy for heads of a model of another shape is taken")
