"""What roar is made of: a graph in blocks, projection and repair, best-first search; and the laws of the index."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from fovea.attention_retrieval.index.engine import NO_BIAS, Keys
from fovea.attention_retrieval.index.entries import Entries
from fovea.attention_retrieval.index.roar import RoarEngine
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.kernels.best_first import Ask, best_first
from fovea.attention_retrieval.kernels.edges import Graph, graph_of, with_room
from fovea.attention_retrieval.kernels.graph import forget, link, link_all, reachable
from fovea.attention_retrieval.kernels.project import mend, project, unoccluded
from fovea.attention_retrieval.kernels.take import take
from fovea.attention_retrieval.testing.engines import asked, topics
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import StoreError
from tests.hostile_vectors import HOSTILE, interrupted

D = 32


def recall(index, q: np.ndarray, k: int = 16) -> float:
    found, exact = index.search(q, k), index.keys.best(q, k)
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found.ids, exact.ids)]))


def edges(graph: Graph) -> dict[int, list[int]]:
    """The graph as a dictionary, read block by block."""
    found = {}
    for node, block in enumerate(graph.heads.tolist()):
        targets = []
        while block >= 0:
            targets += [t for t in graph.blocks[block, :-1].tolist() if t >= 0]
            block = int(graph.blocks[block, -1])
        found[node + int(graph.used[1])] = targets
    return found


def check_reachable(index) -> None:
    """Every row can be reached from the rows where searches start."""
    graph = edges(index.graph)
    todo = [int(index.entries.middle[0]), *np.unique(index.entries.firsts).tolist()]
    seen = set(todo)
    while todo:
        new = [t for t in graph[todo.pop()] if t not in seen]
        seen.update(new)
        todo += new
    assert seen == set(range(index.keys.start, index.keys.stop))
    assert reachable(index.graph, index.entries.everywhere).all()


def built(rows: np.ndarray, stop: int | None = None, **settings) -> object:
    keys = Keys(Rows.of(rows, "bf16"), 8, stop or len(rows))
    return RoarEngine(**settings).build(keys, asked(rows, 900, seed=1))


@pytest.fixture(scope="module")
def index():
    return built(topics(6000, seed=0))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 200), st.sampled_from([3, 9, 1000]))
def test_edges_are_those_that_were_added(seed, count, most):
    rng = np.random.default_rng(seed)
    graph, expected = graph_of(5, 12, 60), {node: [] for node in range(5, 17)}
    for source, target in rng.integers(5, 17, (count, 2), np.int32):
        there = target in expected[source]
        added = link(graph, source, target, most)
        assert added == (there or len(expected[source]) < most)
        if added and not there:
            expected[source].append(target)
    assert edges(graph) == expected
    assert edges(with_room(graph, 12, 3)) == expected
    forget(graph, 11)
    assert edges(graph) == {node: [t for t in targets if t < 11] for node, targets in expected.items()}
    assert link(graph, np.int32(5), np.int32(16), 1000)
    assert edges(graph)[5][-1] == 16


def test_no_block_is_left():
    graph = graph_of(0, 3, 1)
    assert link_all(graph, np.zeros(5, np.int32), np.arange(1, 6, dtype=np.int32), 99).tolist() == [True] * 4 + [False]
    one, two = np.int32([1, 2])
    assert not link(graph, one, two, 99)
    assert not link(graph_of(0, 3, 1), one, two, 99, grow=False)


@pytest.mark.parametrize("dtype", ["fp32", "bf16", "int8"])
def test_rows_are_taken(dtype):
    rows = Rows.of(topics(5000, seed=0), dtype)
    ids = np.random.default_rng(0).integers(0, 5000, 300).astype(np.int32)
    np.testing.assert_allclose(take(rows.stored, ids), rows.take(ids), rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(2, 40), st.integers(1, 20))
def test_pruning_is_the_rule_of_the_paper(seed, count, most):
    rows = np.random.default_rng(seed).normal(size=(count, 3)).astype(np.float32)
    far = ((rows - rows[0]) ** 2).sum(axis=1)
    kept: list[int] = []
    for p in (np.argsort(far[1:]) + 1).tolist():
        if len(kept) < most and all(((rows[p] - rows[r]) ** 2).sum() >= far[p] for r in kept):
            kept.append(p)
    assert unoccluded(rows, most).tolist() == kept


def test_projection_joins_the_best_key_both_ways():
    rows = topics(200, seed=0)
    lists = np.random.default_rng(0).permutation(200)[:90].reshape(3, 30).astype(np.int32)
    graph = graph_of(0, 200, 500)
    project(graph, lists, rows[lists], 8, 64)
    for best in lists:
        kept = best[unoccluded(rows[best], 8)].tolist()
        assert edges(graph)[best[0]] == kept
        assert all(best[0] in edges(graph)[p] for p in kept)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999), st.integers(1, 60), st.integers(2, 64))
def test_after_mending_every_key_is_reached_through_better_ones(seed, m, most):
    rng = np.random.default_rng(seed)
    rows, graph, ranks = (
        rng.normal(size=(100, 4)).astype(np.float32),
        graph_of(0, 100, 4000),
        np.full(100, -1, np.int32),
    )
    lists = np.stack([rng.permutation(100)[:m] for _ in range(3)]).astype(np.int32)
    lists[1, m // 2 :] = -1
    added = mend(graph, lists, rows[lists], ranks, most)
    assert added == sum(map(len, edges(graph).values()))
    assert (ranks == -1).all()
    assert max(map(len, edges(graph).values())) <= most
    for best in [one[one >= 0].tolist() for one in lists]:
        for n in range(1, len(best)):
            near = any(best[n] in edges(graph)[r] for r in best[:n])
            assert near or all(len(edges(graph)[r]) >= most for r in best[: min(n, 8)]) or most < 8
    assert mend(graph, lists, rows[lists], ranks, most) == 0 or most < 8


@pytest.mark.parametrize("group", [1, 4, 7])
@pytest.mark.parametrize("half", [0.0, 0.5])
def test_a_search_of_everything_is_the_scan(group, half):
    rows = Rows.of(topics(700, seed=0), "bf16")
    table, q = rows.block(0, 700), asked(topics(700, seed=0), group, seed=2)
    graph = graph_of(0, 700, 2000)
    for n in np.arange(699, dtype=np.int32):
        link(graph, n, n + np.int32(1), 9)
        link(graph, n, n * np.int32(7) % np.int32(700), 9)
    bias = np.random.default_rng(1).normal(size=700).astype(np.float32)
    for extra in (NO_BIAS, bias):
        ask = Ask(q, extra, half, 700, 10_000)
        ids, logits, scored, _ = best_first(rows.stored, graph, ask, np.zeros(1, np.int32))
        less = -half * (table**2).sum(axis=1) + (extra if len(extra) else 0)
        _, exact = reference.top_k(table, q, 700, less)
        assert scored == 700
        np.testing.assert_allclose(logits, exact, atol=1e-3)
        assert all(len(np.unique(one)) == 700 for one in ids)


@pytest.mark.parametrize("budget", [1, 10, 100, 600])
def test_a_search_stops_at_its_budget(index, budget):
    q = asked(topics(6000, seed=0), 4, seed=2)
    ask = Ask(q, NO_BIAS, 0.0, 200, budget)
    starts = index.entries.firsts[:50].ravel()
    ids, logits, scored, _ = best_first(index.keys.rows.stored, index.graph, ask, starts)
    met = np.unique(ids[ids >= 0])
    assert len(met) <= scored <= budget
    for query, one, logit in zip(q, ids, logits):
        real = one[one >= 0]
        np.testing.assert_allclose(index.keys.rows.take(real) @ query, logit[: len(real)], atol=1e-3)


def test_a_group_shares_its_traversal(index):
    q = asked(topics(6000, seed=0), 1, seed=2)
    alone, together = index.search(q, 16), index.search(np.repeat(q, 4, axis=0), 16)
    graph_rows = together.scanned - alone.scanned
    assert graph_rows <= 3 * (4 + 64 + 4 * 16)  # only what finds the entries is done for each query
    for ids in together.ids:
        np.testing.assert_array_equal(ids, alone.ids[0])


def test_every_row_is_reachable(index):
    check_reachable(index)
    for settings_ in ({"training": 16}, {"degree": 3}, {"seconds": 1e-6}):
        check_reachable(built(topics(2500, seed=0), **settings_))
    check_reachable(built(np.ones((600, D), np.float32)))


def test_every_row_stays_reachable():
    rows = topics(6000, seed=6)
    index = built(rows, 3000)
    for stop in (3001, 3050, 4000, 6000):
        index.insert(stop)
        check_reachable(index)
    q = asked(rows, 4, seed=5)
    index.repair(q, index.keys.best(q, 50).ids)
    check_reachable(index)
    assert max(map(len, edges(index.graph).values())) < 500


def test_a_new_key_is_found_at_once():
    rows = topics(4000, seed=6)
    index = built(rows, 3000)
    index.insert(4000)
    found = missed = 0
    for q in asked(rows, 60, seed=9)[:, None]:
        exact, here = index.keys.best(q, 16).ids[0], index.search(q, 16).ids[0]
        found += np.isin(exact[exact >= 3000], here).sum()
        missed += (~np.isin(exact[exact >= 3000], here)).sum()
    assert found > 0.85 * (found + missed)


def test_a_row_that_nobody_wants():
    rows, queries = topics(3000, seed=0), np.abs(asked(topics(3000, seed=0), 900, seed=1))
    rows[2500:] = -np.abs(rows[2500:]) * 3
    index = RoarEngine().build(Keys(Rows.of(rows, "bf16"), 8, 2500), queries)
    for stop in (2501, 2502, 3000):
        index.insert(stop)
        check_reachable(index)
    assert (index.search(queries[:4], 16).ids < 2500).all()


def test_repair_brings_back_what_was_missed():
    """Queries unlike all training queries find less, and after an audit all."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8000, D)).astype(np.float32)
    usual = rng.normal(size=(900, D)).astype(np.float32) * 0.3 + 2
    index = RoarEngine().build(Keys(Rows.of(rows, "bf16"), 8, 8000), usual)
    odd = rng.normal(size=(4, D)).astype(np.float32) * 0.3 - 2
    before, old = recall(index, odd, 50), recall(index, usual[:40:10], 50)
    exact = index.keys.best(odd, 50).ids
    index.repair(odd, exact)
    assert before < 0.8
    assert recall(index, odd, 50) > 0.95
    assert recall(index, usual[:40:10], 50) >= old - 0.02
    size = index.nbytes
    index.repair(odd, exact)
    assert index.nbytes == size  # nothing was left to mend


def test_a_state_comes_back(index):
    state = {name: array.copy() for name, array in index.state().items()}
    again = index.engine.restore(Keys(index.keys.rows, 8, 6000), state)
    q = asked(topics(6000, seed=0), 4, seed=77)
    np.testing.assert_array_equal(again.search(q, 16).ids, index.search(q, 16).ids)
    again.repair(q, index.keys.best(q, 16).ids)
    assert recall(again, q) > 0.95
    for name, array in index.state().items():
        np.testing.assert_array_equal(array, state[name])  # the other index is as it was


@pytest.mark.parametrize(
    "name", ["heads", "blocks", "used", "firsts", "tops", "middle", "floors", "asked", "rotation", "norms"]
)
def test_a_damaged_state_is_refused(index, name):
    whole = index.state()
    assert set(whole) >= {name}
    for state in (
        {key: array for key, array in whole.items() if key != name},
        {**whole, name: whole[name][:-1]},
        {**whole, name: whole[name].astype(np.float64)},
        {**whole, name: whole[name][None]},
    ):
        with pytest.raises(StoreError, match="damaged"):
            index.engine.restore(index.keys, state)


def test_a_graph_that_leads_astray_is_refused(index):
    whole = index.state()
    for name, value in (
        ("blocks", 6000),
        ("blocks", -2),
        ("heads", len(whole["blocks"])),
        ("firsts", 3),
        ("middle", 6000),
    ):
        broken = whole[name].copy()
        broken.flat[0] = value
        with pytest.raises(StoreError, match=name):
            index.engine.restore(index.keys, {**whole, name: broken})
    circle = whole["blocks"].copy()
    circle[5, -1] = 2
    with pytest.raises(StoreError, match="circle"):
        index.engine.restore(index.keys, {**whole, "blocks": circle})


def test_an_interrupted_insertion_changes_nothing(monkeypatch):
    rows = topics(6000, seed=0)
    index = built(rows, 5000)
    before, q = edges(index.graph), asked(rows, 4, seed=3)
    ids = index.search(q, 16).ids
    real, calls = Entries.better, []

    def stops(self, rows, wants):
        calls.append(len(rows))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(self, rows, wants)

    monkeypatch.setattr(Entries, "better", stops)
    with pytest.raises(KeyboardInterrupt):
        index.insert(6000)
    monkeypatch.setattr(Entries, "better", real)
    assert index.keys.stop == 5000
    assert edges(index.graph) == before
    assert (index.search(q, 16).ids < 5000).all()
    assert np.mean([len(np.intersect1d(a, b)) / 16 for a, b in zip(ids, index.search(q, 16).ids)]) > 0.9
    index.insert(6000)
    check_reachable(index)


def test_an_interrupted_build_leaves_nothing(monkeypatch):
    rows = topics(3000, seed=0)
    keys, q = Keys(Rows.of(rows, "bf16"), 8, 3000), asked(rows, 600, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr("fovea.attention_retrieval.kernels.project.mend", interrupted)
        with pytest.raises(KeyboardInterrupt):
            RoarEngine().build(keys, q)
    first, second = (RoarEngine().build(keys, q).state() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_vectors(case):
    rows, queries = HOSTILE[case]
    queries = asked(topics(3000, seed=0), 900, seed=1) if queries is None else queries
    keys = Keys(Rows.of(rows, "bf16"), 8, 2000)
    index = RoarEngine().build(keys, queries)
    index.insert(3000)
    check_reachable(index)
    q = asked(topics(3000, seed=0), 4, seed=2)
    found = index.search(q, 16)
    assert (found.ids >= 8).all()
    for query, ids, logits in zip(q, found.ids, found.logits):
        assert len(np.unique(ids)) == 16
        np.testing.assert_allclose(logits, keys.rows.take(ids) @ query, rtol=1e-3, atol=1e-2)
