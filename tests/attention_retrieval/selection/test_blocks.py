"""Blocks, what stands for each of them, and the clusters of `routing`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from fovea.attention_retrieval.selection.bilevel import BilevelSelection
from fovea.attention_retrieval.selection.block_bounds import BlockBoundsSelection
from fovea.attention_retrieval.selection.blocks import Blocks, best
from fovea.attention_retrieval.selection.routing import RoutingSelection
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.testing.selections import HEADS, START, D, layer, nothing


def test_no_row_of_a_block_is_above_its_bound():
    text = layer(500, dtype="fp32")
    blocks = Blocks(text.keys, text.values, START, size=16, by="bounds")
    blocks.extend(500)
    q = text.asked(3, seed=1)
    logits = q @ text.keys.block(START, 500).transpose(0, 2, 1)
    for b, bound in enumerate(blocks.scores(q).transpose(2, 0, 1)):
        assert (logits[:, :, 16 * b : 16 * b + 16].max(axis=2) <= bound + 1e-4).all()
    one = Blocks(text.keys, text.values, START, size=1, by="bounds")
    one.extend(500)
    np.testing.assert_allclose(one.scores(q), logits, atol=1e-4, err_msg="of one row the bound is its logit")


@pytest.mark.parametrize("by", ["bounds", "mean", "last", "queries"])
@pytest.mark.parametrize("estimate", [False, True])
def test_blocks_are_the_same_in_whatever_pieces_they_come(by, estimate):
    text = layer(500)
    whole, parts = (Blocks(text.keys, text.values, START, size=16, by=by, estimate=estimate) for _ in range(2))
    whole.extend(477)
    for stop in (START, START + 5, START + 16, 100, 100, 476, 477):
        parts.extend(stop)
    for name, array in whole.parts.items():
        np.testing.assert_allclose(parts.parts[name], array, atol=1e-5, err_msg=name)


def test_what_stands_for_a_block_is_its_formula():
    text = layer(START + 40, dtype="fp32")
    keys, values = (each.block(START, START + 40) for each in text)
    asked = np.random.default_rng(0).normal(size=(HEADS, 3, D)).astype(np.float32)
    asked[:, 1] = 0
    gate = 1 / (1 + 2 / 16)
    for by in ("mean", "last", "queries"):
        blocks = Blocks(text.keys, text.values, START, size=16, by=by, estimate=True)
        blocks.extend(START + 40, asked if by == "queries" else None)
        for head in range(HEADS):
            for b, (low, high) in enumerate(((0, 16), (16, 32), (32, 40))):
                mine, n = keys[head, low:high], high - low
                running = np.zeros((2, D))
                if by == "last":  # as RAT computes it, token by token; a short block scaled to a sum of 1
                    for key, value in zip(mine, values[head, low:high]):
                        running = gate * running + (1 - gate) * np.stack([key, value])
                    expected = running / (1 - gate**n)
                else:
                    weights = np.exp(mine @ asked[head, b]) if by == "queries" else np.ones(n)
                    weights /= weights.sum()
                    expected = np.stack([weights @ mine, weights @ values[head, low:high]])
                np.testing.assert_allclose(blocks.parts["keys"][head, b], expected[0], atol=1e-4)
                np.testing.assert_allclose(blocks.parts["values"][head, b], expected[1], atol=1e-4)


def test_queries_of_a_block_weigh_its_keys():
    """As a cache hands them over: some tokens' queries, a group's side by side; those before `start` count nowhere."""
    text, rng = layer(START + 40, dtype="fp32"), np.random.default_rng(0)
    rows, asked = np.array([2, START, START + 3, START + 39]), rng.normal(size=(HEADS, 4 * 3, D)).astype(np.float32)
    selection = BlockBoundsSelection(represent="queries", top_k=16, estimate=True)
    assert selection.needs_queries
    assert not BlockBoundsSelection().needs_queries
    queries = Queries(lambda head: asked[head], lambda head: rows)
    made = selection.over(text.keys, text.values, START, START + 40, queries=queries)
    expected = Blocks(text.keys, text.values, START, size=16, by="queries", estimate=True)
    p = np.zeros((HEADS, 3, D), np.float32)
    p[:, 0], p[:, 2] = asked[:, 3:9].mean(axis=1), asked[:, 9:].mean(axis=1)
    expected.extend(START + 40, p)
    for name, array in expected.parts.items():
        np.testing.assert_allclose(made.blocks.parts[name], array, atol=1e-5)
    even = selection.over(text.keys, text.values, START, START + 40)
    assert np.abs(even.blocks.parts["keys"][:, 1] - made.blocks.parts["keys"][:, 1]).max() < 1e-5
    assert np.abs(even.blocks.parts["keys"][:, 0] - made.blocks.parts["keys"][:, 0]).max() > 0.1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 40), st.integers(1, 45))
def test_the_best_hold_the_first_choice_of_every_query(seed, queries, count, wanted):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(2, queries, count)).astype(np.float32) * 10.0 ** rng.integers(-2, 4, (2, queries, 1))
    found = best(scores, wanted)
    assert found.shape == (2, min(wanted, count))
    assert (np.diff(found, axis=1) > 0).all()
    if wanted >= queries:
        for head, mine in enumerate(found):
            assert set(scores[head].argmax(axis=1)) <= set(mine.tolist())


def test_what_was_not_read_of_a_block_is_the_mean_of_just_that():
    text = layer(500, dtype="fp32")
    blocks = Blocks(text.keys, text.values, START, size=16, estimate=True)
    blocks.extend(500)
    rng, q = np.random.default_rng(0), text.asked(3, seed=1)
    ids = np.sort(rng.choice(np.arange(START, 500), (HEADS, 200)), axis=1)
    ids = np.stack([np.pad(u := np.unique(mine), (0, 200 - len(u)), constant_values=-1) for mine in ids])
    part, keys, values = blocks.rest(q, ids), *(each.block(0, 500) for each in text)
    for head in range(HEADS):
        logs, means = [], []
        for low in range(START, 500, 16):
            left = np.setdiff1d(np.arange(low, min(low + 16, 500)), ids[head])
            if len(left):
                logs.append(q[head] @ keys[head, left].mean(axis=0) + np.log(len(left)))
                means.append(values[head, left].mean(axis=0))
        weights = np.exp(np.stack(logs, axis=1))
        np.testing.assert_allclose(part.lse[head], np.log(weights.sum(axis=1)), atol=1e-3)
        np.testing.assert_allclose(
            part.out[head], weights @ np.stack(means) / weights.sum(axis=1, keepdims=True), atol=1e-3
        )
    everything = np.broadcast_to(np.arange(START, 500), (HEADS, 500 - START))
    assert np.isneginf(blocks.rest(q, everything).lse).all()


def test_regions_are_the_layers():
    text = layer(2000)
    selected = BilevelSelection(top_k=256).over(text.keys, text.values, START, 2000)
    q = text.asked(3, seed=1)
    one, other = (found.ids[0] for found in selected.attend(q, nothing(q)).found)
    np.testing.assert_array_equal(one, other)
    means = selected.blocks.parts["keys"]
    affinity = sum(means[head] @ q[head, g] for head in range(HEADS) for g in range(3))
    assert set(((one - START) // 64).tolist()) == set(np.argsort(-affinity)[:4].tolist())
    own = BlockBoundsSelection(top_k=256, size=64, represent="mean").over(text.keys, text.values, START, 2000)
    assert [found.ids[0].tolist() for found in own.attend(q, nothing(q)).found] != [one.tolist()] * 2


def test_clusters_are_balanced_and_go_by_cosine():
    text = layer(3000)
    selected = RoutingSelection(top_k=128).over(text.keys, text.values, START, 1500, seed=3)
    assert selected.members.shape == (HEADS, 1492 // 64, 64)
    keys = text.keys.block(0, 1500)
    for head in range(HEADS):
        rows = keys[head] - keys[head, START:].mean(axis=0)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for centroid, members in zip(selected.centroids[head], selected.members[head]):
            cosines = rows @ centroid
            least = cosines[members].min()
            assert (np.delete(cosines, [*range(START), *members]) <= least + 1e-5).all(), "the nearest rows"
    q = text.asked(1, seed=1)
    found = selected.attend(q, nothing(q)).found
    scaled = selected.attend(q * np.float32(7), nothing(q)).found
    for head in range(HEADS):
        cosines = selected.centroids[head] @ q[head, 0]
        expected = np.unique(selected.members[head][np.argsort(-cosines)[:2]])
        np.testing.assert_array_equal(found[head].ids[0][: len(expected)], expected)
        np.testing.assert_array_equal(found[head].ids, scaled[head].ids)


def test_segments_are_routed_alike_whenever_they_come():
    text = layer(6000)
    whole = RoutingSelection().over(text.keys, text.values, START, START + 4196, seed=1)
    parts = RoutingSelection().over(text.keys, text.values, START, START + 4096, seed=1)
    parts.insert(START + 4196)
    parts.insert(START + 4196)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(parts.state()[name], array, err_msg=name)


def test_what_all_keys_share_does_not_move_the_clusters():
    """As no softmax feels it; and a row that comes alone is found by its cosine."""
    text, far = layer(1500, dtype="fp32"), layer(0, dtype="fp32")
    far.keys.append(text.keys.block(0, 1500) + np.linspace(-30, 30, D, dtype=np.float32))
    far.values.append(text.values.block(0, 1500))
    here, there = (RoutingSelection(top_k=64).over(*each, START, 1400, seed=1) for each in (text, far))
    np.testing.assert_array_equal(np.sort(here.members), np.sort(there.members))
    q = (text.keys.block(1400, 1401) - text.keys.block(START, 1400).mean(axis=1, keepdims=True)).astype(np.float32)
    for selected in (here, there):
        selected.insert(1401)
        assert [1400 in found.ids for found in selected.attend(q, nothing(q)).found] == [True] * HEADS
