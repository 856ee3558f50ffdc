"""Selections that name rows: what they share. Full attention where all is read, that of the named rows where not."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

pytest.importorskip("numba")

from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.kernels.rows import attend_rows
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.selection.selection import Selection
from fovea.attention_retrieval.testing.selections import HEADS, START, D, Layer, layer, nothing
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.errors import StoreError

NAMES = ("block_bounds", "bilevel", "hip", "routing")
OTHERS = ({"represent": "mean"}, {"represent": "last"}, {"represent": "queries"})
EVERY = [*({"use": name} for name in NAMES), *({"use": "block_bounds", **other} for other in OTHERS)]


def made(use: dict, **settings: object) -> Selection:
    return Selection.model_validate({**use, **settings})


def page(tokens: int, seed: int = 0) -> Layer:
    """Tokens whose keys change little from one to the next, as selections by chunk want them."""
    rng, text = np.random.default_rng(seed), Layer(Vectors(HEADS, D, "fp32"), Vectors(HEADS, D, "fp32"))
    walk = rng.normal(size=(HEADS, tokens, D)).cumsum(axis=1)
    text.keys.append((walk / np.linalg.norm(walk, axis=-1, keepdims=True) * 4).astype(np.float32))
    text.values.append(rng.normal(size=(HEADS, tokens, D)).astype(np.float32))
    return text


def of_rows(text: Layer, q: np.ndarray, ids: np.ndarray, near: Partial) -> Partial:
    keys, values = (each.block(0, len(each)) for each in text)
    return Partial(*reference.attend_rows(keys, values, q, ids, near)[:2])


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("group", [1, 3, 4, 7])
def test_the_kernel_is_the_reference(dtype, group):
    text, rng = layer(700, dtype=dtype), np.random.default_rng(group)
    q = text.asked(group, seed=2)
    ids = np.full((HEADS, 200), -1, np.int32)
    for head, count in enumerate((200, 65)):
        ids[head, :count] = rng.permutation(700)[:count]
    keys, values = (each.block(0, 700) for each in text)
    for near in (nothing(q), text.exact(q, 0, START), Partial(np.ones_like(q), np.full(q.shape[:2], 200, np.float32))):
        made = attend_rows(text.keys.table, text.values.table, q, ids, near)
        for mine, there in zip(made, reference.attend_rows(keys, values, q, ids, near)):
            np.testing.assert_allclose(mine, there, atol=1e-3)


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_all_rows_read_is_full_attention(use):
    text = page(900)
    for group in (3, 4, 7):
        q = text.asked(group, seed=1)
        exact = text.exact(q, START, 900)
        for estimate in (False, True):
            selected = made(use, top_k=892, estimate=estimate).over(text.keys, text.values, START, 900)
            read = selected.attend(q, nothing(q))
            np.testing.assert_allclose(read.part.out, exact.out, atol=1e-5)
            np.testing.assert_allclose(read.part.lse, exact.lse, atol=1e-5)


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_what_is_dropped_is_dropped_and_what_is_read_is_named(use):
    text = page(900)
    selected = made(use, top_k=192).over(text.keys, text.values, START, 890)
    q = text.asked(3, seed=1)
    near = text.exact(q, 890, 900)
    read = selected.attend(q, near)
    ids = np.stack([found.ids[0] for found in read.found])
    real = [mine[mine >= 0] for mine in ids]
    assert all(0 < len(mine) <= 192 for mine in real)
    assert all((np.diff(mine) > 0).all() and START <= mine[0] <= mine[-1] < 890 for mine in real)
    wanted = of_rows(text, q, ids, near)
    np.testing.assert_allclose(read.part.out, wanted.out, atol=1e-5)
    np.testing.assert_allclose(read.part.lse, wanted.lse, atol=1e-5)
    assert (read.rows >= [len(mine) for mine in real]).all()
    for head, found in enumerate(read.found):
        expected = q[head] @ text.keys.block(0, 900)[head, real[head]].T
        np.testing.assert_allclose(found.logits[:, : len(real[head])], expected, atol=1e-4)


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_estimates_stand_for_each_row_once(use):
    """All values alike, and keys of one block: exact whatever is read, so no row counts twice or is left out."""
    text = Layer(Vectors(HEADS, D, "fp32"), Vectors(HEADS, D, "fp32"))
    rng = np.random.default_rng(0)
    blocks = np.repeat(rng.normal(size=(HEADS, 60, D)), 16, axis=1)[:, : 900 - START]
    first = rng.normal(size=(HEADS, START, D))
    text.keys.append(np.concatenate([first, blocks], axis=1).astype(np.float32))
    text.values.append(np.ones((HEADS, 900, D), np.float32))
    size = {"size": 16} if use["use"] in ("block_bounds", "bilevel") else {}
    selected = made(use, top_k=100, estimate=True, **size).over(text.keys, text.values, START, 900)
    q = text.asked(3, seed=1)
    read = selected.attend(q, nothing(q))
    np.testing.assert_allclose(read.part.lse, text.exact(q, START, 900).lse, atol=1e-4)
    np.testing.assert_allclose(read.part.out, 1, atol=1e-4)
    assert not read.found


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_an_estimate_is_nearer_than_none(use):
    text = page(2000)
    q = text.asked(4, seed=1) * np.float32(0.3)
    exact = text.exact(q, START, 2000)
    dropped, estimated = (
        made(use, top_k=200, estimate=each).over(text.keys, text.values, START, 2000).attend(q, nothing(q)).part
        for each in (False, True)
    )
    assert np.abs(estimated.lse - exact.lse).max() < 0.3 * np.abs(dropped.lse - exact.lse).max()
    assert np.linalg.norm(estimated.out - exact.out) < 0.5 * np.linalg.norm(dropped.out - exact.out)


@pytest.mark.parametrize("use", [use for use in EVERY if use["use"] != "bilevel"], ids=str)
def test_a_needle_that_one_query_of_a_group_sees_is_found(use):
    """Query 3 of head 1, whose logits are small beside those of the other queries of its group."""
    text = page(2000, seed=3)
    keys = text.keys.block(0, 2000)
    q = text.asked(4, seed=1) * np.float32(20)
    place = 1234
    near = slice(place - 4, place + 4)
    middle = keys[1, near].mean(axis=0)
    q[1, 3] = middle / np.linalg.norm(middle) * 2
    best = int(np.argmax(q[1, 3] @ keys[1, START:].T)) + START
    read = made(use, top_k=256).over(text.keys, text.values, START, 2000).attend(q, nothing(q))
    assert best in read.found[1].ids[3]


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_the_choice_does_not_depend_on_the_width_of_a_head(use):
    """Keys of twice the width, half of it zeros, and queries that give the same logits choose the same rows."""
    text = page(900)
    wide = Layer(Vectors(HEADS, 2 * D, "fp32"), Vectors(HEADS, 2 * D, "fp32"))
    for mine, there in zip(text, wide):
        there.append(np.concatenate([mine.block(0, 900), np.zeros((HEADS, 900, D), np.float32)], axis=2))
    q = text.asked(3, seed=1)
    found = [
        [each.ids[0].tolist() for each in made(use, top_k=192).over(*two, START, 900).attend(ask, nothing(ask)).found]
        for two, ask in ((text, q), (wide, np.concatenate([q, np.zeros_like(q)], axis=2)))
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("use", [{"use": "block_bounds"}, {"use": "bilevel"}, {"use": "routing"}], ids=str)
def test_less_than_one_block_is_refused(use):
    with pytest.raises(ValidationError, match=r"top_k \(8\) must be at least the (size|width) \((16|64)\)"):
        made(use, top_k=8)


@pytest.mark.parametrize("use", EVERY, ids=str)
def test_a_state_that_is_not_whole_or_of_other_settings_is_refused(use):
    text = page(900)
    for estimate in (False, True):
        selection = made(use, top_k=192, estimate=estimate)
        selected = selection.over(text.keys, text.values, START, 890)
        q = text.asked(3, seed=1)
        expected = selected.attend(q, nothing(q)).part
        state = selected.state()
        again = selection.restore(text.keys, text.values, state, START, 890).attend(q, nothing(q)).part
        np.testing.assert_array_equal(again.out, expected.out)
        for name in state:
            kept = name.startswith("kept")
            for wrong in (state[name][:-1] if kept else state[name][..., :-1], state[name].astype(np.float16)):
                with pytest.raises(StoreError):
                    selection.restore(text.keys, text.values, {**state, name: wrong}, START, 890)
