"""What every prefill policy must keep to: `check_prefill(MyPrefill())` runs it all, in a second.

What a policy does to a real model's answers, and what it saves, is measured by `fovea bench longcontext`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.prefill.prefill import Block, Prefill
from fovea.attention_retrieval.testing.selections import HEADS, D, Layer, layer

SINKS, GROUP = 8, 3


def check_prefill(prefill: Prefill) -> None:
    """Raise AssertionError, saying what is wrong, unless `prefill` keeps to the contract."""
    assert prefill.rows > 0, "a block has tokens"
    check_columns(prefill)
    check_same(prefill)


def block_of(text: Layer, start: int, stop: int, group: int = GROUP) -> Block:
    """The block of tokens [start, stop), with queries that want what the text is about."""
    import torch

    asked = [text.asked((stop - start) * group, seed=start).reshape(HEADS, stop - start, group, D)]
    keys, values = (torch.from_numpy(each.block(0, len(each))) for each in text)
    return Block(torch.from_numpy(np.concatenate(asked).transpose(0, 2, 1, 3).copy()), start, keys, values, SINKS)


def check_columns(prefill: Prefill) -> None:
    """Columns are rows of the text before the block, each once, in order; what is said of them has their shape."""
    text = layer(700)
    for start, tokens in ((0, 1), (0, 5), (0, 300), (300, 400), (699, 1)):
        block = block_of(text, start, start + min(tokens, prefill.rows))
        tokens, columns = block.stop - start, prefill.columns(block)
        assert len(columns.ids) in (1, HEADS, HEADS * GROUP), "ids: one array for all, a kv head, or a query head"
        for ids in columns.ids:
            assert ids.dtype == np.int64, "ids are int64"
            assert ids.ndim == 1, "(columns,)"
            assert (np.diff(ids) > 0).all(), "ids ascend, each once"
            assert not len(ids) or ids[0] >= 0, "a row of the text"
            assert not len(ids) or ids[-1] < start, "rows before the block: its own need no name"
        check_said(columns, tokens)


def check_said(columns: Columns, tokens: int) -> None:
    """`seen`, `bias` and `own` have the shape of what they speak of, and every token sees itself."""
    lengths = [len(ids) for ids in columns.ids]
    if columns.seen is not None:
        assert [each.shape for each in columns.seen] == [(tokens, n) for n in lengths], "(tokens, columns), as ids"
        assert all(each.dtype == np.bool_ for each in columns.seen), "seen is bool"
    if columns.bias is not None:
        assert [each.shape for each in columns.bias] == [(n,) for n in lengths], "(columns,), as ids"
        assert all(np.isfinite(each).all() for each in columns.bias), "a bias is a number"
    for means in columns.means or []:
        assert means.keys.shape == means.values.shape == (len(means.keys), D), "(means, d)"
        assert np.min(means.counts, initial=1) > 0, "a mean stands for rows"
        assert np.shape(means.counts) in ((), (len(means.keys),)), "counts is one number, or (means,)"
    if columns.own is not None:
        assert columns.own.shape == (tokens, tokens), "(tokens, tokens)"
        assert columns.own.dtype == np.bool_, "own is bool"
        assert columns.own.diagonal().all(), "every token sees itself"


def sight(columns: Columns, start: int, stop: int, head: int = 0) -> np.ndarray:
    """Which of the rows before `stop` each token of a block sees, (tokens, stop) bool; `head` counts as `ids` does."""
    tokens = stop - start
    sees = np.zeros((tokens, stop), bool)
    sees[:, columns.ids[head]] = True if columns.seen is None else columns.seen[head]
    sees[:, start:] = np.tri(tokens, dtype=bool) & (True if columns.own is None else columns.own)
    return sees


def check_same(prefill: Prefill) -> None:
    """The same block, the same columns."""
    text, stop = layer(500), 200 + min(prefill.rows, 300)
    one, two = (prefill.columns(block_of(text, 200, stop)) for _ in range(2))
    assert same(one, two), "another choice for the same block"


def same(one: Columns, two: Columns) -> bool:
    """Whether both name the same."""
    mine, other = ([*_arrays(columns)] for columns in (one, two))
    return len(mine) == len(other) and all(np.array_equal(a, b) for a, b in zip(mine, other))


def _arrays(columns: Columns) -> Iterator[np.ndarray]:
    for said in (columns.ids, columns.seen, columns.bias, columns.own):
        yield from () if said is None else said
    for means in columns.means or []:
        yield from (means.keys.numpy(), means.values.numpy())
