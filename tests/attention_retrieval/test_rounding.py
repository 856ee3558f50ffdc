"""Rows of fewer bits: how far they are from what was given, whatever they are and in whatever pieces they came."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.attention_retrieval.rounding import decode, decode_codes, encode, to_bf16
from fovea.attention_retrieval.slabs import BLOCK, SLAB
from fovea.attention_retrieval.vectors import FIRST, RECENT, Vectors
from fovea.rag.errors import ModelError

NUMBERS = st.floats(-(2.0**99), 2.0**99, width=32) | st.sampled_from([0.0, 1e-40, -1e-40, 100.0, 100.001, -3e38, 3e38])
LEVELS = {8: 255, 4: 15}


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.lists(NUMBERS, min_size=1, max_size=7), st.sampled_from([8, 4]),
       st.sampled_from([-1, -2]))  # fmt: skip
def test_an_error_is_at_most_half_a_step_and_a_step_follows_the_range(tokens, channels, bits, axis):
    with np.errstate(over="ignore"):
        rows = (np.array(tokens, np.float32)[:, None] / 3 + np.array(channels, np.float32) / 3).astype(np.float32)
    codes, pairs = encode(rows, bits, axis)
    low, scale = np.split(decode(pairs), 2, axis)
    back = decode_codes(codes, low, scale, bits, rows.shape[1]).astype(np.float64)
    size = np.abs(rows).max(axis, keepdims=True).astype(np.float64)
    assert (np.abs(back - rows) <= scale.astype(np.float64) / 2 + size * 4e-7 + 1e-40).all()  # bf16 knows none less
    wide = rows.max(axis, keepdims=True).astype(np.float64) - rows.min(axis, keepdims=True)
    assert (scale <= (wide + size / 127) / LEVELS[bits] * 1.01 + 1e-40).all(), "no wider than bf16 ends make it"


@pytest.mark.parametrize("d", [1, 5, 8])
def test_two_codes_share_a_byte(d):
    rows = np.random.default_rng(0).integers(0, 16, (40, d)).astype(np.float32)
    rows[0], rows[1] = 0, 15
    codes, pairs = encode(rows, 4, -2)
    assert codes.shape == (40, (d + 1) // 2)
    np.testing.assert_array_equal(decode_codes(codes, *decode(pairs)[:, None], 4, d), rows)


@pytest.mark.parametrize("axis", [-1, -2])
def test_what_bf16_cannot_hold_the_ends_of_is_refused(axis):
    rows = np.full((3, 2), 3.4e38, np.float32)
    rows[1, 1] = -3.4e38
    with pytest.raises(ModelError, match="NaN or infinite"):
        encode(rows, 8, axis)


def drawn(tokens: int, seed: int = 0) -> np.ndarray:
    """Keys of a bf16 model with a channel that is far from nought, and one that is wide."""
    rows = np.random.default_rng(seed).normal(size=(2, tokens, 6)).astype(np.float32)
    rows[..., 0] += 100
    rows[..., 1] *= 30
    return decode(to_bf16(rows))


def test_rows_that_wait_are_bf16_beside_int4_and_as_they_came_beside_int8():
    rows = np.random.default_rng(0).normal(size=(2, FIRST + 90, 6)).astype(np.float32)
    for dtype, wanted, size in (("int4", decode(to_bf16(rows)), rows.nbytes // 2), ("int8", rows, rows.nbytes)):
        made = Vectors(2, 6, dtype, "channel")
        made.append(rows)
        np.testing.assert_array_equal(made.block(0, len(made)), wanted)
        np.testing.assert_array_equal(made.head(1).take(np.arange(len(made))), wanted[1])
        assert made.nbytes == size
        half = Vectors(2, 6, dtype, "channel")
        half.append(to_bf16(rows))
        np.testing.assert_array_equal(half.block(0, len(half)), decode(to_bf16(rows)))


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_by_channel_a_wide_one_costs_the_others_nothing(dtype):
    rows, found = drawn(4000), {}
    for by in ("token", "channel"):
        made = Vectors(2, 6, dtype, by)
        made.append(rows)
        found[by] = np.abs(made.block(0, 4000) - rows)[..., 2:].mean()
    assert found["channel"] < found["token"] / 10


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([1, 2, 100, 127, 128, 129, 700, 5000]), min_size=1, max_size=8),
       st.sampled_from(["int8", "int4"]))  # fmt: skip
def test_rows_do_not_depend_on_the_pieces_they_came_in(steps, dtype):
    rows, pieces, at_once, done = drawn(sum(steps)), *(Vectors(2, 6, dtype, "channel") for _ in range(2)), 0
    at_once.append(rows)
    for step in steps:
        pieces.append(rows[:, done : done + step])
        done += step
    np.testing.assert_array_equal(pieces.block(0, done), at_once.block(0, done))
    ids = np.random.default_rng(0).integers(0, done, 50)
    np.testing.assert_array_equal(pieces.head(1).take(ids), at_once.block(0, done)[1][ids])
    exact = (np.arange(done) < FIRST) | (np.arange(done) >= done - RECENT)
    np.testing.assert_array_equal(at_once.block(0, done)[:, exact], rows[:, exact], err_msg="first and last rows")
    assert pieces.nbytes == at_once.nbytes
    assert at_once.nbytes <= 2 * done * (6 + 24 / BLOCK) + {"int8": 4, "int4": 2}[dtype] * 2 * 6 * (
        FIRST + RECENT + BLOCK
    )


def test_a_text_that_is_asked_often_is_not_rounded_over_and_over():
    """Behind the text come long answers, of which nothing is left; blocks that they cut are restored, not rounded."""
    text, tokens = drawn(SLAB + FIRST + 60), SLAB + FIRST + 60
    made = Vectors(2, 6, "int4", "channel")
    made.append(text)
    for n in range(8):
        made.append(drawn(700, seed=n) * (n + 1))
        made.crop(tokens)
        if not n:
            first = made.block(0, tokens)
        np.testing.assert_array_equal(made.block(0, tokens), first)
    assert np.abs(first - text)[..., 2:].max() < 1, "as far as one rounding takes them"
    made.crop(tokens - 20)
    made.append(text[:, -20:])
    np.testing.assert_array_equal(made.block(0, tokens)[:, :-20], first[:, :-20])
    np.testing.assert_array_equal(made.block(0, tokens)[:, -20:], text[:, -20:])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 2000)), min_size=1, max_size=8))
def test_crops_anywhere_leave_rows_within_two_steps(moves):
    """Appends and crops in turn, beside a plain array; a copy made on the way is not changed by what comes after."""
    made, held = Vectors(2, 6, "int8", "channel"), np.zeros((2, 0, 6), np.float32)
    for n, (more, length) in enumerate(moves):
        made.append(rows := drawn(more, seed=n))
        held = np.concatenate([held, rows], axis=1)[:, :length]
        made.crop(length)
        assert len(made) == held.shape[1]
        back = made.block(0, len(made))
        assert (np.abs(back - held) <= np.array([0.5, 5, 0.2, 0.2, 0.2, 0.2])).all()
        twin = copy.deepcopy(made)
        made.append(drawn(400, seed=50 + n))
        np.testing.assert_array_equal(twin.block(0, len(twin)), back)
        made.crop(held.shape[1])
