"""What every prefill policy must keep to: `check_prefill(MyPrefill())` runs it all, in a second.

What a policy does to a real model's answers, and what it saves, is measured by `fovea bench longcontext`.
"""

from __future__ import annotations

import numpy as np

from fovea.attention_retrieval.prefill.prefill import Block, Columns, Prefill
from fovea.attention_retrieval.testing.selections import HEADS, D, Layer, layer

SINKS, GROUP = 8, 3


def check_prefill(prefill: Prefill) -> None:
    """Raise AssertionError, saying what is wrong, unless `prefill` keeps to the contract."""
    check_columns(prefill)
    check_same(prefill)


def block_of(text: Layer, start: int, stop: int) -> Block:
    """The block of tokens [start, stop), with queries that want what the text is about."""
    import torch

    asked = [text.asked((stop - start) * GROUP, seed=start).reshape(HEADS, stop - start, GROUP, D)]
    return Block(torch.from_numpy(np.concatenate(asked).transpose(0, 2, 1, 3).copy()), start, text.keys, SINKS)


def check_columns(prefill: Prefill) -> None:
    """Columns are rows of the text up to the block, each once, in order; every token sees itself, and the first one."""
    text = layer(700)
    for start, stop in ((0, 1), (0, 5), (0, 300), (300, 700), (699, 700)):
        ids, seen = prefill.columns(block_of(text, start, stop))
        assert ids.dtype == np.int64, "ids are int64"
        assert ids.ndim == 2, "(kv heads or 1, columns)"
        assert len(ids) in (1, HEADS), "(kv heads or 1, columns)"
        assert (np.diff(ids, axis=1) > 0).all(), "ids ascend, each once"
        assert ids.min() >= 0, "a row of the text"
        assert ids.max() < stop, "no row behind the block"
        sees = sight(ids, seen, start, stop)
        mine = ids[:, None] == np.arange(start, stop)[:, None]
        assert (sees & mine).any(axis=2).all(), "every token sees itself"


def sight(ids: np.ndarray, seen: np.ndarray | None, start: int, stop: int) -> np.ndarray:
    """Which token sees which column, (kv heads or 1, tokens, columns) bool."""
    earlier = ids[:, None] <= np.arange(start, stop)[:, None]
    if seen is None:
        return earlier
    assert seen.dtype == np.bool_, "seen is bool"
    assert seen.shape[1:] == earlier.shape[1:], "(kv heads or 1, tokens, columns)"
    assert len(seen) in (1, HEADS), "(kv heads or 1, tokens, columns)"
    return np.asarray(earlier & seen)


def check_same(prefill: Prefill) -> None:
    """The same block, the same columns."""
    text = layer(500)
    one, two = (prefill.columns(block_of(text, 200, 500)) for _ in range(2))
    assert same(one, two), "another choice for the same block"


def same(one: Columns, two: Columns) -> bool:
    """Whether both name the same."""
    ids = np.array_equal(one.ids, two.ids)
    return ids and (one.seen is two.seen is None or np.array_equal(np.asarray(one.seen), np.asarray(two.seen)))
