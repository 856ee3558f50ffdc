"""The cut through a tree of clusters is the best of all of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from fovea.attention_retrieval.tree import Tree, cut, grown, joined  # noqa: E402


def tree_of(rows: int, seed: int) -> Tree:
    keys, values = torch.randn(2, 1, rows, 4, generator=torch.manual_seed(seed))
    return grown(keys, values, keys, (2, 4), 1, 2)


def cost(levels, errors, price, taken) -> float:
    return sum(float(error[0][those[0]].sum()) for error, those in zip(errors, taken[1:])) + price * sum(
        int(those.sum()) for those in taken
    )


@given(st.integers(0, 10**6), st.floats(0, 2))
def test_the_cut_costs_least_of_all_there_are(seed, price):
    """Every set of clusters that may stand is tried: those below one that stands do not count."""
    levels = tree_of(8, seed).levels
    errors = [torch.rand(level.sizes.shape, generator=torch.manual_seed(seed + 1)) for level in levels]
    found = cut(levels, errors, price)
    names = [(n, c) for n, level in enumerate(levels) for c in range(level.keys.shape[1]) if level.sizes[0, c] > 0]
    best = float("inf")
    for stand in itertools.chain.from_iterable(itertools.combinations(names, k) for k in range(len(names) + 1)):
        taken = [torch.zeros(1, 8, dtype=torch.bool), *(torch.zeros_like(e, dtype=torch.bool) for e in errors)]
        for row in range(8):
            low = int(levels[0].above[0, row])
            high = int(levels[1].above[0, low])
            if (1, high) in stand:
                taken[2][0, high] = True
            elif (0, low) in stand:
                taken[1][0, low] = True
            else:
                taken[0][0, row] = True
        best = min(best, cost(levels, errors, price, taken))
    assert cost(levels, errors, price, found) == pytest.approx(best, abs=1e-5)


def test_a_cut_takes_each_row_once():
    levels = joined([tree_of(32, 0), tree_of(32, 1)]).levels
    errors = [torch.rand(level.sizes.shape, generator=torch.manual_seed(3)) for level in levels]
    rows, low, high = cut(levels, errors, 0.3)
    counted = rows[0].float()
    counted += low[0][levels[0].above[0]]
    counted += high[0][levels[1].above[0][levels[0].above[0]]]
    assert counted.tolist() == [1] * 64


def test_levels_are_nested_and_tell_their_rows():
    keys, values = torch.randn(2, 1, 64, 4, generator=torch.manual_seed(5))
    low, high = grown(keys, values, keys, (4, 16), 2, 3).levels
    assert float(low.sizes.sum()) == float(high.sizes.sum()) == 64
    of = high.above[0][low.above[0]]
    for cell in range(high.keys.shape[1]):
        mine = keys[0, of == cell]
        if len(mine):
            torch.testing.assert_close(high.keys[0, cell], mine.mean(dim=0))
            torch.testing.assert_close(high.spread[0, cell], (mine - mine.mean(dim=0)).square().sum(1).mean())
