"""HiP's descent, its stages, and how long they are used."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from pydantic import ValidationError

pytest.importorskip("numba")

from fovea.attention_retrieval.selection.hip import HipSelection, descend
from fovea.attention_retrieval.testing.selections import START, layer, nothing
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import StoreError


@pytest.mark.parametrize("size", [256, 250, 129, 32, 7])
def test_a_descent_finds_a_planted_maximum_wherever_it_is(size):
    """On a slope that leads there: at and beside powers of two too, in whole chunks and short ones."""
    slopes = -np.abs(np.arange(512)[:, None] - 100 - np.arange(size)).astype(np.float32)
    rows, every = Rows.of(slopes), np.eye(size, dtype=np.float32)
    found, scanned = descend(rows, every, np.array([100]), np.array([100 + size]))
    assert (found == 0).all(), np.flatnonzero(found)
    assert scanned <= size * 2 * np.ceil(np.log2(size)), "2 log2(size) of each query"


@pytest.mark.parametrize("sizes", [[1, 2, 3], [1, 1], [5, 8]])
def test_every_row_of_a_small_chunk_is_met(sizes):
    rng = np.random.default_rng(0)
    rows, low = Rows.of(rng.normal(size=(40, 8)).astype(np.float32)), 7 + np.cumsum([0, *sizes[:-1]])
    q = rng.normal(size=(3, 8)).astype(np.float32)
    found, _ = descend(rows, q, low, low + sizes)
    every = q @ rows.block(0, 40).T
    for n, size in enumerate(sizes):
        mine = every[:, low[n] : low[n] + size]
        assert np.isclose(found[:, n, None], mine).any(axis=1).all(), "a score is that of a row of the chunk"
        if size <= 2:
            np.testing.assert_allclose(found[:, n], mine.max(axis=1), rtol=1e-5)


def test_stages_are_used_again_until_they_are_due_or_rows_come():
    text = layer(1500)
    selection = HipSelection(top_k=64, chunks=(64, 8), keep=(512,), refresh=(4, 2))
    selected = selection.over(text.keys, text.values, START, 1400)
    queries = [text.asked(2, seed=n) for n in range(6)]
    ids = [np.stack([found.ids[0] for found in selected.attend(q, nothing(q)).found]) for q in queries]
    same = [bool((a == b).all()) for a, b in pairwise(ids)]
    assert same == [True, False, True, False, True]
    scanned = [int((selected.attend(q, nothing(q)).rows - 64).max()) for q in queries]
    assert [each > 0 for each in scanned] == [True, False] * 3
    assert scanned[2] > 1.3 * max(scanned[0], scanned[4]), "both stages, one, and none"
    fresh = selection.over(text.keys, text.values, START, 1500)
    for renew in (lambda: selected.insert(1500), selected.anew):
        renew()
        one, other = (each.attend(queries[0], nothing(queries[0])).part.out for each in (selected, fresh))
        np.testing.assert_array_equal(one, other)
        fresh.anew()


def test_a_saved_state_goes_on_with_its_stages():
    text = layer(1500)
    selection = HipSelection(top_k=64, chunks=(64, 8), keep=(512,), refresh=(4, 2), estimate=True)
    selected = selection.over(text.keys, text.values, START, 1400)
    first, *others = (text.asked(2, seed=n) for n in range(5))
    selected.attend(first, nothing(first))
    restored = selection.restore(text.keys, text.values, selected.state(), START, 1400)
    for q in others:
        one, other = (each.attend(q, nothing(q)).part.out for each in (selected, restored))
        np.testing.assert_array_equal(one, other)
    state = selected.state()
    for wrong in (state["kept.1"][:, ::-1], state["kept.1"] + 1400):
        with pytest.raises(StoreError, match=r"kept\.1"):
            selection.restore(text.keys, text.values, {**state, "kept.1": wrong}, START, 1400)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"chunks": [64, 8]}, "2 chunks want 1 keep and 2 refresh, got 2 and 3"),
        ({"chunks": [256, 32, 7]}, "chunks: each must divide the one before, and 7 does not divide 32"),
        ({"refresh": [32, 16, 5]}, "refresh: each must divide the one before, and 5 does not divide 16"),
        ({"keep": [100, 8192]}, "a stage of chunks of 256 rows cannot leave 100"),
        ({"top_k": 4}, "a stage of chunks of 8 rows cannot leave 4"),
        ({"chunks": [], "keep": [], "refresh": []}, "at least 1"),
    ],
)
def test_stages_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        HipSelection(**settings)
