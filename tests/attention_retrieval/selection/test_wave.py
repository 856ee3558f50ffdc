"""The wave selection: exact where it reads everything, bounded where it does not, and its kernel's reference."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("numba")

from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.kernels.wave import BINS, attend_waves, bin_of
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.selection.wave import WaveSelection
from fovea.attention_retrieval.testing.selections import START, layer, nothing


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("rest", [0.01, 0.1, 0.5])
@pytest.mark.parametrize("group", [1, 3, 5])
def test_the_kernel_is_the_reference(dtype, rest, group):
    text = layer(1500, dtype=dtype)
    selected = WaveSelection().over(text.keys, text.values, START, 1400, seed=1)
    q = text.asked(group, seed=2)
    near = text.exact(q, 1400, 1500)
    out, lse, read = attend_waves(text.keys.table, text.values.table, selected.waves, q, near, rest, 700)
    keys, values = text.keys.block(0, 1500), text.values.block(0, 1500)
    for head in range(len(q)):
        mine = Partial(near.out[head], near.lse[head])
        there = reference.attend_waves((keys[head], values[head]), selected.waves, head, q[head], mine, rest, 700)
        np.testing.assert_allclose(out[head], there[0], atol=2e-3)
        np.testing.assert_allclose(lse[head], there[1], atol=1e-3)
        assert read[head] == pytest.approx(there[2], abs=40), "a cluster on the edge of a bin may fall on either side"


@pytest.mark.parametrize("scale", [0.1, 1, 30])
def test_with_nothing_left_to_estimates_it_is_exact(scale):
    text = layer(1200)
    selected = WaveSelection(rest=0, most=2000).over(text.keys, text.values, START, 1200, seed=1)
    q = text.asked(3, seed=2) * np.float32(scale)
    exact = text.exact(q, START, 1200)
    np.testing.assert_allclose(selected.attend(q, nothing(q)).part.out, exact.out, atol=1e-4)
    np.testing.assert_allclose(selected.attend(q, nothing(q)).part.lse, exact.lse, atol=1e-4 * max(scale, 1))


def test_a_head_that_looks_at_few_rows_reads_few():
    text = layer(3000)
    selected = WaveSelection(most=3000).over(text.keys, text.values, START, 3000, seed=1)
    q = text.asked(1, seed=2)
    wide, narrow = (selected.attend(q * np.float32(s), nothing(q)).rows.mean() for s in (0.3, 6))
    assert narrow < wide / 3
    few = WaveSelection(most=60).over(text.keys, text.values, START, 3000, seed=1)
    clusters = np.diff(few.waves.first)
    assert (few.attend(q, nothing(q)).rows - clusters).max() <= 60


def test_what_is_near_counts_against_the_rest():
    text = layer(2000)
    selected = WaveSelection().over(text.keys, text.values, START, 2000, seed=1)
    q = text.asked(2, seed=2)
    alone = selected.attend(q, nothing(q))
    heavy = Partial(np.ones_like(q), alone.part.lse + 9)
    beside = selected.attend(q, heavy)
    assert beside.rows.sum() < alone.rows.sum(), "beside what weighs far more, less of the rest is read"
    np.testing.assert_allclose(beside.part.out, 1, atol=0.01)


def test_heads_of_one_cluster_and_of_many_lie_side_by_side():
    text = layer(600)
    selected = WaveSelection(size=512, most=2000).over(text.keys, text.values, START, 600, seed=1)
    q = text.asked(2, seed=2)
    assert np.diff(selected.waves.first).tolist() == [1, 1]
    part = selected.attend(q, nothing(q)).part
    np.testing.assert_allclose(part.out, text.exact(q, START, 600).out, atol=1e-4)
    assert sorted(selected.waves.members[:592].tolist()) == list(range(600 - START)), "as places in the segment"


def test_segments_are_clustered_alike_whenever_they_come():
    text = layer(4000)
    whole = WaveSelection().over(text.keys, text.values, START, START + 3000, seed=1)
    parts = WaveSelection().over(text.keys, text.values, START, START + 1024, seed=1)
    parts.insert(START + 2048)
    parts.insert(START + 3000)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(parts.state()[name], array, err_msg=name)


def test_infinite_weights_stay_inside_the_bins():
    for log, top in ((np.inf, np.inf), (0, np.inf), (np.nan, 0), (-3e38, 3e38), (-1e9, 0)):
        assert bin_of(np.float32(log), np.float32(top)) == BINS - 1
    assert [bin_of(np.float32(log), np.float32(0)) for log in (0, -0.3, -15.8)] == [0, 1, BINS - 1]
