"""HyperAttention: pieces, hash, and an estimate that is right on average."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.prefill.hyper import HyperAttention, gray_rank, in_buckets, pieces  # noqa: E402
from fovea.attention_retrieval.testing.prefills import SINKS  # noqa: E402
from fovea.attention_retrieval.testing.selections import layer  # noqa: E402
from tests.attention_retrieval.prefill.reading import attended, made  # noqa: E402

SMALL = {"exact": 64, "bucket": 8, "sample": 16, "block": 32}


@pytest.mark.parametrize("count", range(12))
def test_pieces_are_powers_of_two_that_fill_what_is_before(count):
    cut = list(pieces(count * 10, 10))
    assert [low for low, _ in cut] == [0, *(high for _, high in cut[:-1])][: len(cut)]
    assert sum(high - low for low, high in cut) == count * 10
    sizes = [(high - low) // 10 for low, high in cut]
    assert sizes == sorted(set(sizes), reverse=True)
    assert all(size & (size - 1) == 0 for size in sizes)


def test_neighbours_in_gray_order_differ_by_one_hyperplane():
    sides = np.array([[(code >> bit & 1) * 2 - 1 for bit in range(5)] for code in range(32)])
    ranks = gray_rank(sides)
    assert sorted(ranks.tolist()) == list(range(32))
    ordered = sides[np.argsort(ranks)]
    assert (np.abs(np.diff(ordered, axis=0)).sum(axis=1) == 2).all()


def test_a_key_like_the_query_is_in_its_bucket():
    rng = np.random.default_rng(0)
    keys, planes = rng.normal(size=(512, 32)), rng.normal(size=(32, 7))
    ranks = gray_rank(keys @ planes)
    for at in (0, 100, 511):
        close = keys[at] + rng.normal(size=32) * 1e-6
        found = in_buckets(ranks, gray_rank(close[None] @ planes), 8)
        assert len(found) == 8
        assert np.abs(ranks[found] - ranks[at]).min() <= 1, "of its own hash, or next to it"
    both = in_buckets(ranks, ranks[[0, 511]], 8)
    assert set(both) >= set(in_buckets(ranks, ranks[[511]], 8)), "those of every head of a group"


def test_sums_over_keys_are_right_on_average_over_seeds():
    """Of 500 seeds, the denominator of the softmax and its numerator, not only their ratio: within what chance allows,
    of which a residual that counted the bucket twice, or had another weight, would be far out.
    """
    text = layer(288)
    block = made(text, 256, 264)
    block.queries[:] *= 0.2  # so that no single key decides, whose draw a mean over 500 would hardly see
    exact = attended(HyperAttention(exact=512), block)
    sums, rows = [], []
    for seed in range(500):
        part = attended(HyperAttention(seed=seed, **SMALL), block)
        sums.append(np.exp(part.lse - exact.lse))
        rows.append(sums[-1][..., None] * part.out)
    for got, wanted in ((np.array(sums), 1.0), (np.array(rows), exact.out)):
        away = (got.mean(axis=0) - wanted) / (got.std(axis=0) / np.sqrt(500))
        assert np.abs(away).max() < 5
        assert 0.7 < np.sqrt((away**2).mean()) < 1.3, "as far off as chance has it"


def test_a_draw_that_falls_in_the_bucket_does_not_count_twice():
    block = made(layer(288), 256, 288)
    columns = HyperAttention(exact=64, bucket=64, sample=4096, block=32).columns(block)
    for ids, weights in zip(columns.ids, columns.bias):
        assert len(np.unique(ids)) == len(ids), "each row once"
        assert (weights[ids < SINKS] == 0).all(), "a sink is read as it is"
        drawn = weights != 0
        assert drawn.any()
        assert (weights == 0).sum() >= SINKS + 56, "buckets have no weight"
        expected = np.exp(weights[drawn].astype(float)).sum() + (~drawn).sum()
        assert abs(expected - 256) < 40, "together they stand for all rows"


def test_what_it_reads_grows_with_the_logarithm():
    short, long = (
        [len(ids) for ids in HyperAttention(**SMALL).columns(made(layer(n), n - 32, n)).ids] for n in (544, 2080)
    )
    assert max(long) < max(short) + 2 * 2 * (8 * 3 + 16) < 2048


def test_settings_that_do_not_fit():
    with pytest.raises(ValueError, match=r"exact must be a multiple of block \(128\), got 100"):
        HyperAttention(exact=100)
