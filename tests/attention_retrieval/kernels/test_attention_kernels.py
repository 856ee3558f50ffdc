"""Kernels against their NumPy references, over every stored type."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.rounding import to_bf16
from fovea.attention_retrieval.slabs import SLAB
from fovea.attention_retrieval.vectors import Rows, Vectors
from fovea.rag.errors import ModelError

kernels = pytest.importorskip("fovea.attention_retrieval.kernels.attend", reason="numba is not installed")
from fovea.attention_retrieval.kernels.best_places import best_places  # noqa: E402

DTYPES = ("fp32", "bf16", "int8", "int4")
KINDS = [*((dtype, "token") for dtype in DTYPES), ("int8", "channel"), ("int4", "channel")]


def table(tokens: int, d: int, dtype: str, seed: int = 0, by: str = "token") -> Rows:
    return Rows.of(np.random.default_rng(seed).normal(size=(tokens, d)).astype(np.float32), dtype, by)


@pytest.mark.parametrize(("dtype", "by"), KINDS)
@pytest.mark.parametrize("d", [8, 64, 80, 96, 128, 256])
@pytest.mark.parametrize("group", [1, 4, 7, 8])
def test_scan_is_the_reference(dtype, by, d, group):
    rows = table(SLAB + 300, d, dtype, by=by)
    q = np.random.default_rng(1).normal(size=(group, d)).astype(np.float32)
    keys = Keys(rows, 100, SLAB + 250)
    found = keys.best(q, 20)
    ids, logits = reference.top_k(rows.block(100, SLAB + 250), q, 20)
    np.testing.assert_allclose(found.logits, logits, atol=2e-4)
    assert (found.ids == ids + 100).mean() > 0.99  # near ties may change places with the order of a sum


@pytest.mark.parametrize(("dtype", "by"), KINDS)
def test_gathering_is_the_scan(dtype, by):
    rows = table(2 * SLAB, 64, dtype, by=by)
    q = np.random.default_rng(1).normal(size=(4, 64)).astype(np.float32)
    bias = np.random.default_rng(2).normal(size=2 * SLAB).astype(np.float32)
    keys = Keys(rows, 0, 2 * SLAB, bias)
    ids = np.random.default_rng(3).permutation(2 * SLAB)
    gathered, logits = keys.best_of(q, ids, 50)
    found = keys.best(q, 50)
    np.testing.assert_array_equal(np.sort(gathered), np.sort(found.ids))
    np.testing.assert_allclose(logits, found.logits, atol=1e-4)
    lifted = keys.lifted(q) @ keys.matrix()[gathered[0]].T
    np.testing.assert_allclose(lifted[0], logits[0], atol=1e-4)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-1e3, 1e3, width=32), max_size=60),
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0]), max_size=3),
    st.integers(0, 70),
    st.randoms(use_true_random=False),
)
def test_the_places_of_the_largest(numbers, odd, k, random):
    both = numbers * 3 + odd  # three of each: equal numbers are all the same
    random.shuffle(both)
    x = np.array(both, np.float32)
    real = np.flatnonzero(~np.isnan(x) & (x != -np.inf))
    places = best_places(x, k)
    np.testing.assert_array_equal(x[places], np.sort(x[real])[::-1][:k])
    assert len(np.unique(places)) == len(places) == min(k, len(real))


@pytest.mark.parametrize("group", [1, 3, 4, 5, 9])
def test_what_is_not_a_number_is_not_found(group):
    rows, q = table(300, 16, "fp32"), np.random.default_rng(1).normal(size=(group, 16)).astype(np.float32)
    bias = np.zeros(300, np.float32)
    bias[::2] = -np.inf
    q[-1, 3] = np.nan
    ids, logits = Keys(rows, 0, 300, bias).best_of(q, np.arange(300)[::-1], 200)
    assert (ids[-1] == -1).all()
    for n in range(group - 1):
        np.testing.assert_array_equal(np.sort(ids[n]), np.sort(np.r_[np.full(50, -1), np.arange(1, 300, 2)]))
        np.testing.assert_allclose(logits[n, :150], np.sort(rows.block(0, 300)[1::2] @ q[n])[::-1], atol=1e-4)
        assert np.isneginf(logits[n, 150:]).all()


def test_fewer_rows_than_asked_for():
    found = Keys(table(3, 8, "fp32"), 0, 3).best(np.ones((2, 8), np.float32), 5)
    assert (found.ids[:, 3:] == -1).all()
    assert np.isneginf(found.logits[:, 3:]).all()
    assert sorted(found.ids[0, :3].tolist()) == [0, 1, 2]


@pytest.mark.parametrize(("dtype", "by"), KINDS)
def test_attention_over_ids_and_over_a_range(dtype, by):
    keys, values = table(SLAB + 50, 32, dtype, by=by), table(SLAB + 50, 32, dtype, seed=5)
    q = np.random.default_rng(1).normal(size=(4, 32)).astype(np.float32)
    logits = q @ keys.block(10, SLAB + 40).T
    out, lse = reference.attend(values.block(10, SLAB + 40), logits)
    made = kernels.scan_logits(keys.stored, q, 10, SLAB + 40)
    scanned = kernels.attend_scanned(values.stored, 10, made)
    np.testing.assert_allclose(scanned[0], out, atol=2e-5)
    np.testing.assert_allclose(scanned[1], lse, atol=2e-5)
    ids = np.tile(np.arange(10, SLAB + 40, dtype=np.int32), (4, 1))
    gathered = kernels.attend_ids(values.stored, ids, logits)
    np.testing.assert_allclose(gathered[0], out, atol=2e-5)
    np.testing.assert_allclose(gathered[1], lse, atol=2e-5)


def test_nobody_to_attend_to():
    values = table(5, 8, "fp32")
    ids, logits = np.full((2, 3), -1, np.int32), np.full((2, 3), -np.inf, np.float32)
    out, lse = kernels.attend_ids(values.stored, ids, logits)
    assert not out.any()
    assert np.isneginf(lse).all()


def test_exp():
    from fovea.attention_retrieval.kernels.load import exp

    x = np.concatenate([-np.logspace(-8, 1.93, 2000), [0.0, -87.0, -88.0, -200.0]]).astype(np.float32)
    made = np.array([exp(one) for one in x])
    np.testing.assert_allclose(made, np.exp(x.astype(np.float64)), rtol=3e-7, atol=2e-38)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_merging_parts_is_attending_to_all(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    count, spread = data.draw(st.integers(1, 40)), data.draw(st.sampled_from([1.0, 30.0, 200.0]))
    logits = (rng.uniform(-1, 1, (3, count)) * spread).astype(np.float32)
    values = rng.normal(size=(count, 4)).astype(np.float32)
    part = rng.integers(0, data.draw(st.integers(1, 5)), count)
    parts = [Partial(*reference.attend(values[part == n], logits[:, part == n])) for n in range(6)]
    whole = merge(*parts)
    out, lse = reference.attend(values, logits)
    np.testing.assert_allclose(whole.out, out, atol=1e-5)
    np.testing.assert_allclose(whole.lse, lse, rtol=1e-6, atol=1e-5)


def test_merging_nothing():
    nothing = Partial(np.zeros((2, 3), np.float32), np.full(2, -np.inf, np.float32))
    assert np.isneginf(merge(nothing, nothing).lse).all()
    assert not merge(nothing, nothing).out.any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.sampled_from(DTYPES), st.integers(0, 9000))
def test_rows_come_back_whatever_the_steps(steps, dtype, cropped):
    rng, vectors, given_ = np.random.default_rng(0), Vectors(2, 8, dtype), []
    for step in steps:
        rows = rng.normal(size=(2, step, 8)).astype(np.float32)
        vectors.append(rows)
        given_.append(rows)
    vectors.crop(cropped)
    vectors.append(rows)
    whole = np.concatenate([np.concatenate(given_, axis=1)[:, :cropped], rows], axis=1)
    assert len(vectors) == whole.shape[1]
    at_once = Vectors(2, 8, dtype)
    at_once.append(whole)
    expected = at_once.block(0, len(at_once))
    np.testing.assert_array_equal(vectors.block(0, len(vectors)), expected)
    np.testing.assert_array_equal(vectors.head(1).block(0, len(vectors)), expected[1])
    ids = rng.integers(0, max(len(vectors), 1), 20) if len(vectors) else np.empty(0, int)
    np.testing.assert_array_equal(vectors.head(1).take(ids), expected[1][ids])


def test_bf16_is_torchs():
    torch = pytest.importorskip("torch")
    rows = np.random.default_rng(0).normal(size=10_000).astype(np.float32)
    np.testing.assert_array_equal(to_bf16(rows), torch.from_numpy(rows).bfloat16().view(torch.uint16).numpy())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_and_nothing_is_taken(dtype, bad):
    vectors, rows = Vectors(1, 4, dtype), np.ones((1, 3, 4), np.float32)
    rows[0, 1, 2] = bad
    for made in (rows, to_bf16(rows)) if dtype == "bf16" else (rows,):
        with pytest.raises(ModelError, match="NaN or infinite"):
            vectors.append(made)
    assert len(vectors) == 0
