"""AnchorAttention against its rule."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from fovea.attention_retrieval.prefill import anchor
from fovea.attention_retrieval.prefill.anchor import AnchorPrefill
from fovea.attention_retrieval.prefill.prefill import Block

START, SINKS, WINDOW = 96, 4, 8


def block_of(group=3, tokens=32, d=16, seed=0):
    rng = np.random.default_rng(seed)
    query, keys, values = (
        torch.from_numpy(rng.normal(size=shape).astype(np.float32))
        for shape in ((2, group, tokens, d), (2, START + tokens, d), (2, START + tokens, d))
    )
    return Block(query, START, keys, values, SINKS)


def by_hand(block, theta, size, kind):
    """The far rows of each kv head, from the rule as it is written, row by row."""
    kept = []
    for queries, keys in zip(block.queries.double(), block.keys.double()):
        found = set()
        for head in queries:
            for first in range(0, len(head), size):
                rows = head[first : first + size]
                anchors = []
                for n, row in enumerate(rows):
                    at = START + first + n
                    near = [*range(SINKS), *range(START - WINDOW, at + 1)]
                    logits = keys[near] @ row
                    anchors.append(logits.max() if kind == "max" else logits.logsumexp(0))
                mean = sum(anchors) / len(anchors)
                far = keys[SINKS : START - WINDOW] @ rows.mean(0)
                if kind == "sum":
                    mean = torch.logaddexp(mean, far.logsumexp(0))
                found |= {SINKS + j for j, logit in enumerate(far) if logit >= mean - theta}
        kept.append(sorted(found))
    return kept


@pytest.mark.parametrize("kind", ["max", "sum"])
@pytest.mark.parametrize(("group", "tokens"), [(1, 32), (3, 32), (4, 21), (7, 3)])
def test_columns_are_the_rule(kind, group, tokens, monkeypatch):
    monkeypatch.setattr(anchor, "EVERY", 1)
    block, theta = block_of(group, tokens), 5.0
    prefill = AnchorPrefill(theta=theta, anchor=kind, block=8, step=4, window=WINDOW)
    wanted = by_hand(block, theta, 8, kind)
    near = [*range(SINKS), *range(START - WINDOW, START)]
    assert [ids.tolist() for ids in prefill.columns(block).ids] == [sorted({*near, *far}) for far in wanted]
    assert all(0 < len(far) < START - WINDOW - SINKS for far in wanted), "the rule decides something here"


def test_a_row_that_only_one_head_of_a_group_wants_is_read():
    block = block_of(group=4)
    want = torch.zeros(16)
    want[0] = 10
    block.keys[1, 50] = want
    block.queries[1, 3, 8:16] = want
    ids = AnchorPrefill(theta=1, block=8, step=4, window=WINDOW).columns(block).ids
    assert 50 in ids[1]
    assert 50 not in ids[0]


def test_twice_the_width_and_queries_scaled_for_it_choose_the_same():
    block = block_of()
    wide = Block(
        torch.cat([block.queries, block.queries], -1) / 2, START, torch.cat([block.keys] * 2, -1), block.values, SINKS
    )
    prefill = AnchorPrefill(theta=4, block=8, step=4, window=WINDOW)
    for one, other in zip(prefill.columns(block).ids, prefill.columns(wide).ids):
        np.testing.assert_array_equal(one, other)


def test_a_wider_theta_reads_more():
    block = block_of()
    few, more = (AnchorPrefill(theta=theta, block=8, step=4, window=WINDOW).columns(block).ids for theta in (2, 6))
    for one, other in zip(few, more):
        assert set(one) < set(other)
