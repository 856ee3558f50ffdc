"""IVF: lists of rows, what is read of them, and what a damaged state meets."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.index.ivf import IvfEngine
from fovea.attention_retrieval.index.kmeans import kmeans, nearest
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.testing.engines import D, asked, built, topics
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import FoveaError

lists = pytest.importorskip("fovea.attention_retrieval.kernels.lists", reason="numba is not installed")


def test_lists_hold_each_row_once_by_cell():
    cells = np.random.default_rng(0).integers(0, 7, 200).astype(np.int32)
    offsets, rows = lists.lists_of(cells, 50, 9)
    for c in range(9):
        np.testing.assert_array_equal(rows[offsets[c] : offsets[c + 1]], 50 + np.flatnonzero(cells == c))


def test_sums_over_cells():
    rng = np.random.default_rng(0)
    rows, cells = rng.normal(size=(300, 5)).astype(np.float32), rng.integers(0, 6, 300).astype(np.int32)
    total, size = lists.sums(rows, cells, 8)
    np.testing.assert_array_equal(size, np.bincount(cells, minlength=8))
    np.testing.assert_allclose(total[:6], [rows[cells == c].sum(axis=0) for c in range(6)], atol=1e-4)


@pytest.mark.parametrize("lifted", [False, True])
@pytest.mark.parametrize(("probes", "least"), [(1, 1), (3, 1), (1, 90), (4, 10_000), (99, 1)])
def test_wanted_rows_are_those_of_the_reference(probes, least, lifted):
    rng = np.random.default_rng(1)
    centroids = rng.normal(size=(20, 8 + lifted)).astype(np.float32)
    q = rng.normal(size=(3, 8)).astype(np.float32)
    cells = rng.integers(0, 20, 400).astype(np.int32)
    made = lists.wanted_rows(centroids, q, probes, least, *lists.lists_of(cells, 0, 20))
    np.testing.assert_array_equal(made, reference.wanted_rows(centroids, q, probes, least, cells))


def test_distinct_ids_in_their_order():
    ids = np.array([[4, 2, -1], [2, 0, 4]])
    np.testing.assert_array_equal(lists.distinct(ids, 10, 5), [14, 12, 10])


@pytest.mark.parametrize("spherical", [False, True])
def test_kmeans_finds_clusters_and_moves_no_empty_one(spherical):
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(5, 16)) * 5
    rows = (centres[np.arange(500) % 5] + rng.normal(size=(500, 16)) * 0.1).astype(np.float32)
    centroids = kmeans(rows, 20, steps=5, seed=1, spherical=spherical)
    cells = nearest(rows, centroids, spherical=spherical)
    assert centroids.dtype == np.float32
    assert np.isfinite(centroids).all()
    assert all(len(np.unique(np.arange(500)[cells == c] % 5)) == 1 for c in np.unique(cells))
    if not spherical:
        distances = np.square(rows[:, None] - centroids).sum(axis=2)
        np.testing.assert_allclose(distances[np.arange(500), cells], distances.min(axis=1), atol=1e-3)
    np.testing.assert_array_equal(centroids, kmeans(rows, 20, steps=5, seed=1, spherical=spherical))


def test_a_probe_reads_one_list_and_the_centroids():
    index = built(IvfEngine(nlist=30, nprobe=1), topics(3000, seed=0))
    q = asked(topics(3000, seed=0), 1, seed=4)
    sizes = np.diff(index.offsets)
    best = int((q @ index.centroids.T).argmax())
    found = index.search(q, 4)
    assert found.scanned == 30 + sizes[best]
    assert found.bytes == 30 * D * 4 + 31 * 4 + sizes[best] * (4 + D * 2)


def test_a_group_reads_a_list_once():
    index = built(IvfEngine(nlist=30, nprobe=2), topics(3000, seed=0))
    q = asked(topics(3000, seed=0), 1, seed=4)
    assert index.search(np.repeat(q, 4, axis=0), 4).scanned == index.search(q, 4).scanned


def test_short_lists_are_followed_by_more():
    index = built(IvfEngine(nlist=300, nprobe=1), topics(3000, seed=0))
    assert (index.search(asked(topics(3000, seed=0), 3, seed=4), 200).ids >= 0).all()


def test_lists_are_made_anew_when_the_text_has_grown():
    keys = topics(9000, seed=0)
    index = IvfEngine().build(Keys(Rows.of(keys), 0, 500), None, seed=3)
    before = len(index.centroids)
    index.insert(1000)
    assert len(index.centroids) == before
    index.insert(9000)
    assert len(index.centroids) > 3 * before
    grown = IvfEngine().build(Keys(index.keys.rows, 0, 9000), None, seed=3)
    np.testing.assert_array_equal(index.cells, grown.cells)


@pytest.mark.parametrize("engine", [IvfEngine()], ids=lambda engine: engine.name)
def test_a_state_that_does_not_fit_is_refused(engine):
    index = built(engine, topics(3000, seed=0))
    state = index.state()
    for name, broken in {"cells": state["cells"] + 1, "centroids": state["centroids"][:, 1:]}.items():
        with pytest.raises(FoveaError, match="does not fit|is damaged"):
            engine.restore(index.keys, {**state, name: broken})
    with pytest.raises(FoveaError, match="does not fit|is damaged"):
        engine.restore(Keys(index.keys.rows, 8, 2000), state)


@pytest.mark.parametrize("engine", [IvfEngine()], ids=lambda engine: engine.name)
def test_an_index_takes_a_quarter_of_its_keys_at_most(engine):
    keys = np.random.default_rng(0).normal(size=(16384, 64)).astype(np.float32)
    index = built(engine, keys, start=0)
    assert index.nbytes <= 0.25 * 16384 * 64 * 2
