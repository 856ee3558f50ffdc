"""Clusters while a prompt is read: estimates are their formula, nothing is forgotten, what is uncertain is read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("numba")

from fovea.attention_retrieval.attend import _alike, attend_columns, attend_means  # noqa: E402
from fovea.attention_retrieval.columns import Columns, Means, Width  # noqa: E402
from fovea.attention_retrieval.prefill.clusters import errors_of, wide_of  # noqa: E402
from fovea.attention_retrieval.prefill.prefill import Block, Prefill  # noqa: E402
from fovea.attention_retrieval.prefill.wave import EVERY, WavePrefill, _some  # noqa: E402
from fovea.attention_retrieval.testing.prefills import SINKS, block_of  # noqa: E402
from fovea.attention_retrieval.testing.selections import layer  # noqa: E402
from fovea.attention_retrieval.tree import cut  # noqa: E402
from tests.attention_retrieval.prefill.test_prefill import plain, read  # noqa: E402

SMALL = {
    "block": 16,
    "segment": 64,
    "window": 8,
    "sizes": [4, 16],
    "alone": 4,
    "tolerance": 9,
    "dense_below": 0,
    "steps": 3,
}


def wave(**settings) -> WavePrefill:
    return Prefill.model_validate({"use": "wave", **SMALL, **settings})


def segment(policy, keys, queries):
    """The tree of keys that are values too, as queries (heads, group, tokens, d) see them."""
    return policy._segment(Block(queries, 0, keys, keys, 0, 0, {}, {}), slice(0, keys.shape[1]))


def test_means_with_a_width_are_their_formula():
    rng = np.random.default_rng(0)
    keys, values = rng.normal(size=(2, 30, 8))
    q, counts, r = rng.normal(size=(3, 5, 8)), rng.integers(1, 9, 30), rng.random(30)
    a, b = (each @ each.T / 8 for each in rng.normal(size=(2, 8, 8)))
    logits = q @ keys.T + np.log(counts) + r * (np.einsum("gti,ij,gtj->gt", q, a, q) / 2)[..., None]
    weights = np.exp(logits)
    each = values + r[:, None] * (q @ b.T)[:, :, None]
    wanted = np.einsum("gtn,gtnd->gtd", weights, each) / weights.sum(axis=2, keepdims=True)
    tensors = [torch.from_numpy(each).float() for each in (q, keys, values, r, a, b)]
    means = Means(*tensors[1:3], counts.astype(np.float32), Width(*tensors[3:]))
    out, lse = attend_means(tensors[0] * 2, means, 0.5)
    np.testing.assert_allclose(out, wanted, atol=1e-4)
    np.testing.assert_allclose(lse, np.log(weights.sum(axis=2)), atol=1e-4)


def test_each_row_before_a_block_is_read_or_stands_in_a_cluster():
    for price in (1e-3, 1e-5, 1e-7):
        columns = wave(price=price).columns(block_of(layer(700), 672, 688))
        for ids, means in zip(columns.ids, columns.means):
            assert len(ids) + means.counts.sum() == 672
            assert {*range(SINKS), *range(640, 672)} <= {*ids.tolist()}
            assert 0 < means.counts.sum() < 640


def test_an_estimate_is_nearer_than_what_is_dropped():
    whole, near = plain(3), read(wave(price=1e-5), 3, (300,))
    dropped = read(Prefill.model_validate({"use": "band", "window": 64}), 3, (300,))
    away = [float((each - whole).norm() / whole.norm()) for each in (near, dropped)]
    assert away[0] < 0.75 * away[1], "of keys that have no structure at all"


def test_a_lower_price_reads_more_and_is_nearer():
    block, whole, before = block_of(layer(700), 672, 688), plain(3), np.inf
    prices = (1, 1e-4, 1e-6, 0)
    counts = [np.mean([len(ids) for ids in wave(price=price).columns(block).ids]) for price in prices]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 672
    for price in prices:
        away = float((read(wave(price=price), 3, (300,)) - whole).norm())
        assert away <= before * 1.02 + 1e-3
        before = away
    assert away < 1e-3


def test_rows_are_clustered_by_what_queries_tell_apart():
    """Keys differ most along an axis that no query looks at: those of a cluster are alike along the other one."""
    rng, d = torch.manual_seed(0), 8
    keys = torch.zeros(1, 64, d)
    keys[0, :, 0], keys[0, :, 1] = 9 * torch.randn(64, generator=rng), torch.arange(64) % 4
    queries = torch.zeros(1, 1, 32, d)
    queries[..., 1] = torch.randn(32, generator=rng)
    cells = segment(wave(sizes=[16], alone=0), keys, queries).levels[0].above[0]
    assert all(len({*(cells[n::4].tolist())}) == 1 for n in range(4))
    assert len({*cells.tolist()}) == 4


def test_the_strangest_rows_stand_alone():
    keys = torch.randn(1, 64, 8, generator=torch.manual_seed(1))
    keys[0, [5, 40]] *= 30
    made = segment(wave(alone=2), keys, torch.randn(1, 1, 64, 8, generator=torch.manual_seed(2))).levels[0]
    for row in (5, 40):
        assert made.sizes[0, made.above[0, row]] == 1
        assert made.spread[0, made.above[0, row]] == 0


def test_heads_whose_queries_each_want_another_row_read_everything():
    """The block's queries are copies of keys far behind, each of another one, for one query head alone."""
    made = layer(700)
    block = block_of(made, 672, 688)
    block.queries[:] *= 0.01
    block.queries[1, 2] = 3 * block.keys[1, 100:116]
    columns = wave(price=1e-3, tolerance=0.1).columns(block)
    assert [len(ids) == 672 for ids in columns.ids] == [head == 5 for head in range(len(columns.ids))]
    assert len(columns.means[5].keys) == 0
    assert all(len(ids) < 672 for ids in wave(price=1e-3, tolerance=99).columns(block_of(made, 672, 688)).ids)


def test_heads_that_read_the_same_read_together():
    """What heads of a group read by one list is what each would by its own."""
    block = block_of(layer(700), 672, 688)
    block.queries[:] *= 0.01
    block.queries[1, 2] = 3 * block.keys[1, 100:116]
    columns = wave(price=1e-3, tolerance=0.1).columns(block)
    apart = Columns([ids.copy() for ids in columns.ids], means=[means._replace() for means in columns.means])
    asked = block.queries.flatten(0, 1)
    assert len([*_alike(columns, len(asked), len(block.keys))]) == len(block.keys) + 1
    assert len([*_alike(apart, len(asked), len(block.keys))]) == len(asked)
    together, alone = (attend_columns(asked, each, block.keys, block.values, 1.0) for each in (columns, apart))
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(("block", "segment"), [(64, 16), (16, 64), (48, 32)])
def test_one_tree_of_a_text_is_kept_however_many_segments_a_block_has(block, segment):
    made, policy, kept = layer(700), wave(block=block, segment=segment), {}
    for start in range(0, 640, block):
        one = replace(block_of(made, start, start + block), kept=kept)
        columns = policy.columns(one)
        assert all(len(ids) + means.counts.sum() == start for ids, means in zip(columns.ids, columns.means or ()))
    to, tree = kept["wave tree"]
    assert tree.levels[0].above.shape[1] == to - SINKS
    again = policy.columns(replace(block_of(made, 128, 128 + block), kept=kept))
    assert all(len(ids) + means.counts.sum() == 128 for ids, means in zip(again.ids, again.means))


@pytest.mark.parametrize("price", [1e-3, 1e-5, 1e-7])
@pytest.mark.parametrize("sizes", [[4], [4, 16], [2, 8, 32]])
def test_what_is_not_looked_at_would_not_be_divided(price, sizes):
    """The cut is the best one for the errors of all clusters by the formula, which they are at no price at all."""
    block, policy = block_of(layer(700), 672, 688), wave(price=price, sizes=sizes)
    tree = policy._tree(block, SINKS, 640)
    asked = _some(block.queries, EVERY, EVERY // 2).flatten(1, 2)
    near = torch.cat([block.keys[:, :SINKS], block.keys[:, 640:672]], dim=1)
    lse, wide = (asked @ near.transpose(1, 2)).logsumexp(dim=2), wide_of(asked, tree)
    x = [wide[..., None] * level.spread[:, None] for level in tree.levels]
    logits = [asked @ level.keys.transpose(1, 2) + level.sizes.log()[:, None] + of for level, of in zip(tree.levels, x)]
    total = torch.logaddexp(lse, logits[0].logsumexp(dim=2))[..., None]
    whole = [((each - total).exp() ** 2 * of).mean(dim=1) for each, of in zip(logits, x)]
    rows = policy._taken(block, tree, (SINKS, 640), np.zeros(block.queries.shape[:2], bool))
    same = cut(tree.levels, whole, price)
    assert sum(int((a != b).sum()) for a, b in zip(rows, same)) <= 0.02 * sum(each.numel() for each in same)
    by_head = [errors_of(tree, head, asked[head], lse[head], wide[head], 0.0) for head in range(len(asked))]
    for mine, true in zip(zip(*by_head), whole):
        seen = torch.stack(mine).isfinite()
        torch.testing.assert_close(torch.stack(mine)[seen], true[seen], rtol=1e-3, atol=1e-9)
        assert seen.float().mean() > 0.9, "all but the parts of what has no error"


def test_a_price_beyond_the_numbers_that_are_added_up_is_refused():
    with pytest.raises(ValueError, match="price"):
        wave(price=1e300)
