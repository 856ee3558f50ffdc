"""HNSW and 4-bit fast scan: what faiss makes, what we walk and read, and what a damaged state meets."""

from __future__ import annotations

import numpy as np
import pytest

from fovea.attention_retrieval.index.engine import NO_BIAS, Keys
from fovea.attention_retrieval.index.faiss_alone import faiss_alone
from fovea.attention_retrieval.index.fast_scan import LEAST, FastScanEngine
from fovea.attention_retrieval.index.hnsw import HnswEngine
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.testing.engines import D, asked, built, topics
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import FoveaError

faiss = pytest.importorskip("faiss")
pytest.importorskip("numba")


def test_faiss_is_held_to_one_thread_and_let_go():
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(3)

    def fails():
        with faiss_alone("a test") as alone:
            assert alone.omp_get_max_threads() == 1
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert faiss.omp_get_max_threads() == 3
    faiss.omp_set_num_threads(before)


@pytest.mark.parametrize("biased", [False, True])
def test_the_walk_is_the_reference(biased):
    from fovea.attention_retrieval.kernels.hnsw import Graph, walk

    keys, rng = topics(900, seed=0), np.random.default_rng(1)
    bias = rng.exponential(size=900).astype(np.float32) if biased else NO_BIAS
    index = built(HnswEngine(links=4), keys, dtype="fp32", bias=bias)
    graph = Graph(8, index.links, index.offsets, 8, index.entries)
    q = asked(keys, 6, seed=5)
    ids, _, distinct, reads, left = walk(index.keys.rows.stored, bias, q, graph, 20)
    expected = [reference.walk(keys, bias, one, graph, 20) for one in q]
    for mine, (best, _, _) in zip(ids, expected):
        np.testing.assert_array_equal(mine, best)
    assert reads == sum(scored for _, scored, _ in expected)
    assert left == sum(one for _, _, one in expected)
    assert max(scored for _, scored, _ in expected) <= distinct < reads


def test_our_walk_finds_what_faiss_finds():
    keys = topics(4000, seed=0)
    index = HnswEngine(ef=64).build(Keys(Rows.of(keys), 0, 4000), None, seed=1)
    with faiss_alone("a test"):
        theirs = index._graph(faiss)
        theirs.hnsw.efSearch = 64
        q = asked(keys, 200, seed=5)
        ids = theirs.search(q, 10)[1]
    exact = index.keys.best(q, 10).ids
    ours = np.concatenate([index.search(one[None], 10).ids for one in q])

    def recall(found):
        return np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(found, exact)])

    assert recall(ours) > recall(ids) - 0.02


def test_a_walk_counts_what_it_reads():
    index = built(HnswEngine(links=8, ef=32), topics(3000, seed=0))
    q = asked(topics(3000, seed=0), 1, seed=4)
    one, four = index.search(q, 10), index.search(np.repeat(q, 4, axis=0), 10)
    assert 32 <= one.scanned < 3000
    assert four.scanned == one.scanned
    assert four.bytes == 4 * one.bytes
    assert (one.bytes - one.scanned * D * 2) % (16 * 4) == 0


def test_fast_scan_counts_codes_as_bytes_and_rows_as_scanned():
    index = built(FastScanEngine(rerank=0.05), topics(3000, seed=0))
    q = asked(topics(3000, seed=0), 1, seed=4)
    found = index.search(q, 10)
    assert found.scanned == round(0.05 * 2992)
    codes = -(-2992 // 32) * 32 * D // 4
    assert found.bytes == codes + found.scanned * D * 2
    assert index.search(q, 200).scanned == 400, "twice as many as wanted, at least"
    assert found.scanned <= index.search(asked(topics(3000, seed=0), 4, seed=4), 10).scanned <= 4 * found.scanned
    assert index.nbytes <= 0.25 * 3000 * D * 2


@pytest.mark.parametrize("dims", [1, 2, 4])
def test_more_bits_find_more(dims):
    keys = np.random.default_rng(0).normal(size=(6000, D)).astype(np.float32)
    q = np.random.default_rng(1).normal(size=(100, D)).astype(np.float32)
    index = built(FastScanEngine(dims=dims, rerank=0.02), keys)
    exact = index.keys.best(q, 20).ids
    found = np.concatenate([index.search(one[None], 20).ids for one in q])
    recall = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(found, exact)])
    assert recall > {1: 0.97, 2: 0.85, 4: 0.5}[dims]


def test_few_keys_are_not_coded_and_codes_are_learned_anew():
    keys = topics(6 * LEAST, seed=0)
    index = FastScanEngine().build(Keys(Rows.of(keys), 0, LEAST - 1), None, seed=3)
    assert index.codes is None
    restored = FastScanEngine().restore(index.keys, index.state())
    for one in (index, restored):
        one.insert(LEAST)
        assert one.learned == LEAST
        one.insert(2 * LEAST)
        assert one.learned == LEAST
        one.insert(5 * LEAST)
        assert one.learned == 5 * LEAST
        assert one.codes.ntotal == 5 * LEAST


def _without(state, name, change):
    return {**state, name: change(state[name])}


@pytest.mark.parametrize(
    ("engine", "name", "change"),
    [
        (FastScanEngine(), "codes", lambda a: a[:-32]),
        (FastScanEngine(), "book", lambda a: a[:-1]),
        (FastScanEngine(), "mean", lambda a: a[:-1]),
        (FastScanEngine(), "numbers", lambda a: a + 1),
        (FastScanEngine(dims=1), "turn", lambda a: a[:, :-1]),
        (HnswEngine(), "links", lambda a: a[:-1]),
        (HnswEngine(), "links", lambda a: a + 5000),
        (HnswEngine(), "levels", lambda a: a[:-1]),
        (HnswEngine(), "levels", lambda a: a + 1),
        (HnswEngine(), "levels", lambda a: a - 1),
        (HnswEngine(), "numbers", lambda a: a + 5000),
    ],
)
def test_a_state_that_does_not_fit_is_refused(engine, name, change):
    index = built(engine, topics(3000, seed=0))
    with pytest.raises(FoveaError, match="does not fit|is damaged"):
        engine.restore(index.keys, _without(index.state(), name, change))
    with pytest.raises(FoveaError, match="does not fit|is damaged"):
        engine.restore(Keys(index.keys.rows, 8, 2000), index.state())
