"""SALE: the estimate, the bar, and that nothing that weighs is left out."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.prefill.sale import SALE, _coded, heavy  # noqa: E402
from fovea.attention_retrieval.testing.selections import HEADS, layer  # noqa: E402
from fovea.rag.errors import ConfigError  # noqa: E402
from tests.attention_retrieval.prefill.reading import made  # noqa: E402


def test_codes_are_of_four_bits_with_a_scale_a_row():
    rows = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    rows[0] = 0
    coded = _coded(rows)
    scale = np.abs(rows).max(axis=1) / 7
    assert (np.abs(coded - rows) <= scale[:, None] / 2 + 1e-6).all()
    assert all(len(np.unique(row)) <= 15 for row in coded)
    np.testing.assert_array_equal(coded[0], 0)


def test_what_weighs_much_more_than_the_bar_is_kept_and_what_weighs_much_less_is_not():
    rng = np.random.default_rng(1)
    queries, keys = rng.normal(size=(3, 16, 32)).astype(np.float32), rng.normal(size=(500, 32)).astype(np.float32)
    queries *= 0.5
    tau, far, sinks = np.full(3, 0.01, np.float32), 400, 8
    kept = heavy(queries, keys - keys.mean(axis=0), sinks, far, tau)
    near = np.concatenate([np.arange(sinks), np.arange(far, 500)])
    logits = queries.astype(np.float64) @ keys.T
    share = np.exp(logits[..., :far]) / np.exp(logits[..., near]).sum(axis=-1, keepdims=True)
    largest = share.max(axis=(0, 1))
    error = np.abs(queries).max() * 0.5 * 32 * 0.25  # a rounding of the codes each way
    assert kept[largest > 0.01 * np.exp(error)].all()
    assert kept[largest > 0.02].all()
    assert not kept[largest < 0.005].any()
    assert 0 < kept.sum() < far


def test_the_scale_of_logits_does_not_depend_on_the_width():
    """Twice the channels, each as before: queries that were scaled once more give the same choice."""
    rng = np.random.default_rng(2)
    queries, keys = rng.normal(size=(2, 8, 16)).astype(np.float32), rng.normal(size=(300, 16)).astype(np.float32)
    tau = np.full(2, 0.01, np.float32)
    one = heavy(queries, keys, 4, 250, tau)
    two = heavy(np.tile(queries, 2) / 2, np.tile(keys, 2), 4, 250, tau)
    np.testing.assert_array_equal(one, two)


def test_one_head_of_a_group_is_enough():
    """A key that only the last head of the second group wants is read by that group."""
    text = layer(640)
    block = made(text, 576, 640)
    policy = SALE(tau=0.02, window=64, dense_below=0)
    block.queries[:] = 0
    only = text.keys.head(1).take(np.array([300]))[0]
    block.queries[1, -1, 20] = torch.from_numpy(only / np.linalg.norm(only) * 8)
    ids = policy.columns(block).ids
    assert 300 in ids[1]
    assert len(ids[0]) == 8 + 64, "the other reads sinks and window"
    assert set(range(288, 320)) <= set(ids[1].tolist()), "with its block of 32"


def test_tau_zero_is_everything_and_one_of_a_head_is_its_own():
    block = made(layer(640), 576, 640)
    for tau in (0, 1e-5, [[0.0] * 6]):
        (ids,) = SALE(tau=tau, window=64, dense_below=0).columns(block).ids
        np.testing.assert_array_equal(ids, np.arange(576))
    block.queries[:] *= 0.01
    ids = SALE(tau=[[1.0, 1.0, 1.0, 1.0, 0.0, 1.0]], window=64, dense_below=0).columns(block).ids
    assert len(ids[0]) < 576 == len(ids[1])
    assert len(SALE(tau=1.0).columns(block).ids[0]) == 576, "up to dense_below, all"


def test_a_table_of_another_model_is_refused():
    SALE(tau=[[0.1] * 9] * 30).check(30, 9, 3)
    SALE().check(30, 9, 3)
    with pytest.raises(ConfigError, match="of 30 layers of 9 heads, the model has 24 of 14"):
        SALE(tau=[[0.1] * 9] * 30).check(24, 14, 2)
    with pytest.raises(ValueError, match="as many numbers in each"):
        SALE(tau=[[0.1], [0.1, 0.1]])
    assert HEADS == 2
