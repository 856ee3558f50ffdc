"""FlexPrefill: its patterns, and blocks without any probability."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from fovea.attention_retrieval.prefill.flexprefill import FlexPrefill, divergence, largest
from fovea.attention_retrieval.prefill.prefill import Block

START, TOKENS, SIZE, D = 128, 32, 8, 64


def block_of(seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    query, keys = (
        torch.from_numpy(rng.normal(size=shape).astype(np.float32))
        for shape in ((2, 3, TOKENS, D), (2, START + TOKENS, D))
    )
    return Block(query * scale, START, keys, keys.clone(), 4)


def flex(**settings):
    return FlexPrefill(**{"size": SIZE, "min_budget": SIZE, **settings})


def blocks_of(ids):
    return sorted({int(n) // SIZE for n in ids})


def test_a_column_that_all_queries_want_is_read_and_little_else():
    block = block_of(scale=0)
    block.keys[:, 83], block.queries[..., 0] = 0, 1.0
    block.keys[:, 83, 0] = 40
    found = flex(tau=0, gamma=0.5).columns(block).ids
    assert len(found) == 6, "a query head its own"
    for ids in found:
        assert 83 in ids
        assert len(ids) < START / 2


def test_a_diagonal_is_read_for_every_query_of_the_block():
    block, back = block_of(scale=0), 50
    signs = torch.from_numpy(np.random.default_rng(1).choice([-1.0, 1.0], size=(START + TOKENS, D)).astype(np.float32))
    block.keys[:] = signs
    block.queries[:] = signs[START - back : START + TOKENS - back]
    for ids in flex(tau=0, gamma=0.5).columns(block).ids:
        assert set(range(START - back, START + TOKENS - back)) <= set(ids), "both blocks that a diagonal crosses"


def test_pooled_queries_choose_where_they_tell_the_truth():
    block = block_of(scale=0)
    block.keys[:, 40:48] = 0
    block.keys[:, 40:48, 0] = 20
    block.queries[..., 0] = 1.0
    for ids in flex(tau=10, gamma=0.9).columns(block).ids:
        assert 5 in blocks_of(ids)


def test_blocks_without_probability_are_no_trouble():
    one, other = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0]]), torch.tensor([[0, 0, 1.0], [0.5, 0.5, 0]])
    got = divergence(one, other)
    torch.testing.assert_close(got, torch.tensor([np.log(2) ** 0.5, 0], dtype=torch.float32))
    for ids in flex(tau=0.5).columns(block_of(scale=1000)).ids:
        assert len(ids)
        assert (np.diff(ids) > 0).all()


def test_gamma_of_one_reads_all_columns_that_weigh():
    block = block_of()
    for ids in flex(tau=0, gamma=1).columns(block).ids:
        assert len(ids) == START


def test_the_budget_is_the_least_that_is_read():
    for ids in flex(tau=0, gamma=1e-6, min_budget=64).columns(block_of()).ids:
        assert len(ids) >= 64 - SIZE - TOKENS


def test_largest_counts_by_head():
    found = largest(torch.tensor([[3.0, 1, 2], [1, 2, 3]]), torch.tensor([2, 1]))
    assert found.tolist() == [[True, False, True], [False, False, True]]
