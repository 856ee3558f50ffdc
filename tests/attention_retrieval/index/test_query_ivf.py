"""What query_ivf is made of: exact lists of training queries, cells, votes; and the laws of the index over them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from fovea.attention_retrieval.index.bipartite import training, wanted
from fovea.attention_retrieval.index.cell_lists import CellLists, lists_of
from fovea.attention_retrieval.index.engine import Keys
from fovea.attention_retrieval.index.query_cells import cells_of, halved
from fovea.attention_retrieval.index.query_ivf import QueryIVFEngine
from fovea.attention_retrieval.kernels import near_cells as near
from fovea.attention_retrieval.kernels import reference
from fovea.attention_retrieval.kernels.cells import CELL
from fovea.attention_retrieval.kernels.joins import joins
from fovea.attention_retrieval.kernels.keep_best import keep_best, order_all
from fovea.attention_retrieval.kernels.votes import most_wanted, tally
from fovea.attention_retrieval.rounding import decode
from fovea.attention_retrieval.testing.engines import asked, topics
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import StoreError
from tests.hostile_vectors import HOSTILE, interrupted

D = 32


def keys_of(rows: np.ndarray, start: int = 8, bias: bool = False) -> Keys:
    extra = np.random.default_rng(5).exponential(size=len(rows) + 4000).astype(np.float32)
    return Keys(Rows.of(rows, "bf16"), start, len(rows), extra if bias else np.empty(0, np.float32))


def recall(index, q: np.ndarray, k: int = 16) -> float:
    found, exact = index.search(q, k), index.keys.best(q, k)
    return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(found.ids, exact.ids)]))


@pytest.fixture(scope="module")
def index():
    keys = topics(6000, seed=0)
    return QueryIVFEngine().build(keys_of(keys), asked(keys, 900, seed=1))


@pytest.mark.parametrize("bias", [False, True])
def test_lists_are_the_exact_best(bias):
    keys, q = keys_of(topics(5000, seed=0), bias=bias), asked(topics(5000, seed=0), 300, seed=1)
    ids, logits = wanted(keys, q, 40)
    best, exact = reference.top_k(keys.matrix(), keys.lifted(q), 40)
    np.testing.assert_allclose(logits, exact, atol=1e-4)
    assert (ids == best + keys.start).mean() > 0.99  # near ties may change places


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(0, 99), st.booleans())
def test_best_of_tiles_is_best_of_all(columns, m, seed, ties):
    scores = np.random.default_rng(seed).normal(size=(3, columns)).astype(np.float32)
    scores = np.round(scores) if ties else scores
    ids, logits = np.full((3, m), -1, np.int32), np.full((3, m), -np.inf, np.float32)
    for low in range(0, columns, 70):
        keep_best(np.ascontiguousarray(scores[:, low : low + 70]), low, ids, logits)
    order_all(ids, logits)
    exact = -np.sort(-scores, axis=1)[:, :m]
    np.testing.assert_array_equal(logits[:, : exact.shape[1]], exact)
    assert (ids[:, exact.shape[1] :] == -1).all()
    for t in range(3):
        real = ids[t][ids[t] >= 0]
        assert len(np.unique(real)) == len(real)
        np.testing.assert_array_equal(scores[t, real], logits[t, : len(real)])


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 4000), st.integers(1, 16))
def test_training_queries_are_distinct_and_mostly_late(have, part):
    count = max(have * part // 16, 1)
    queries = np.arange(have, dtype=np.float32)[:, None].repeat(8, axis=1)
    picked = training(queries, keys_of(topics(64, seed=0, d=8)), count, seed=0)[:, 0]
    assert len(np.unique(picked)) == count
    assert picked.max() == have - 1
    assert np.median(picked) >= (have - 1) / 2


def test_keys_stand_in_where_queries_are_few():
    keys = keys_of(topics(500, seed=0))
    few = asked(topics(500, seed=0), 10, seed=1)
    learned = training(few, keys, 64, seed=0)
    assert len(learned) == 64
    np.testing.assert_array_equal(learned[-10:], few)
    np.testing.assert_allclose(np.linalg.norm(learned[:-10], axis=1), np.linalg.norm(few, axis=1).mean(), rtol=1e-4)
    assert len(training(None, keys, 64, seed=0)) == 64
    assert not len(training(None, keys_of(topics(8, seed=0)), 64, seed=0))


def test_cells_are_near_and_whole():
    units = asked(topics(500, seed=0), 16 * 21, seed=1)
    order = halved(units)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(units)))
    spread = np.mean([units[order[n : n + CELL]].var(axis=0).sum() for n in range(0, len(units), CELL)])
    assert spread < 0.6 * units.var(axis=0).sum()


@pytest.mark.parametrize("bias", [False, True])
def test_weights_are_those_of_the_formula(bias):
    rows = topics(3000, seed=0)
    keys, q = keys_of(rows, bias=bias), asked(rows, 4, seed=3)
    cells, order = cells_of(keys, asked(rows, 320, seed=1), rank=99)
    np.testing.assert_allclose(cells.plain(np.arange(320)), keys.lifted(asked(rows, 320, seed=1))[order], atol=0.02)
    lifted = np.ascontiguousarray(keys.lifted(q))
    opened, weights, scored = near.near_cells(cells, lifted, len(cells.centres))
    assert scored == 4 * (len(cells.supers) + len(cells.centres) + 320)
    turned = decode(cells.asked) * np.sqrt(cells.spread)
    new = (lifted @ cells.rotation) * np.sqrt(cells.spread)
    corr = (new / np.linalg.norm(new, axis=1)[:, None]) @ (turned / np.linalg.norm(turned, axis=1)[:, None]).T
    most = corr.max(axis=1)[:, None]
    less = near.SHARP * (most - corr) / np.maximum(1 - most, near.CLOSE)
    shares = np.where(less < near.FAINT, np.exp(-less), 0)
    expected = (shares / shares.sum(axis=1)[:, None]).sum(axis=0).reshape(-1, CELL)
    made = np.zeros_like(expected)
    made[opened] = weights
    np.testing.assert_allclose(made, expected, atol=2e-3)


def test_likeness_is_the_correlation_of_logits():
    rows = topics(3000, seed=0)
    keys, q = keys_of(rows), asked(rows, 2, seed=3)
    cells, _ = cells_of(keys, asked(rows, 320, seed=1), rank=D)
    opened, weights, _ = near.near_cells(cells, q[:1], len(cells.centres))
    best = int(opened[weights.max(axis=1).argmax()]) * CELL + int(weights[weights.max(axis=1).argmax()].argmax())
    logits = keys.matrix() @ np.column_stack([q[0], *cells.plain(np.arange(320))])
    corr = np.corrcoef(logits.T)[0, 1:]
    assert corr[best] >= corr.max() - 0.01


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 60), st.sampled_from([40, 90_000, 5_000_000]))
def test_votes_are_counted(seed, cells, entries, stop):
    rng = np.random.default_rng(seed)
    lists, members = empty(cells, 400), []
    for cell in range(cells):
        ids = np.unique(rng.integers(0, stop, entries)).astype(np.int32)
        members.append((ids, rng.random((CELL, len(ids))) < 0.3))
        lists.put(cell, *members[-1])
        kept = members[-1][1].any(axis=0)
        np.testing.assert_array_equal(lists.entries(cell)[0], ids[kept])
        np.testing.assert_array_equal(lists.entries(cell)[1], members[-1][1][:, kept])
    opened = rng.permutation(cells)[: rng.integers(1, cells + 1)].astype(np.int32)
    weights = (rng.random((len(opened), CELL)) * (rng.random((len(opened), CELL)) < 0.5)).astype(np.float32)
    keys, votes = tally(opened, weights, lists.steps, lists.masks, lists.counts, stop)
    expected: dict[int, float] = {}
    for weight, cell in zip(weights, opened):
        ids, wants = members[cell]
        for n, key in enumerate(ids.tolist()):
            if (wants[:, n] & (weight > 0)).any():
                expected[key] = expected.get(key, 0) + float(weight @ wants[:, n])
    assert set(keys.tolist()) == set(expected)
    assert len(keys) == len(expected)
    np.testing.assert_allclose(votes, [expected[key] for key in keys.tolist()], rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.integers(0, 500), st.integers(0, 600), st.sampled_from([0.0, 0.1, 0.5]))
def test_the_most_wanted_within_the_budget(seed, count, budget, doubt):
    votes = np.random.default_rng(seed).exponential(size=count).astype(np.float32)
    picked = most_wanted(np.arange(count, dtype=np.int32), votes, budget, doubt)
    assert len(picked) <= budget
    assert len(np.unique(picked)) == len(picked)
    left = np.setdiff1d(np.arange(count), picked)
    if len(picked) < min(budget, count):
        assert votes[left].sum() <= doubt * votes.sum() + 1e-3
    if len(left) and len(picked):
        assert votes[picked].min() >= votes[left].max() / 1.04  # votes are ranked to 3 %


def empty(cells: int, places: int) -> CellLists:
    return lists_of(np.zeros((cells * CELL, 0), np.int32), np.zeros((cells * CELL, 0)), places, 0, short=True)


def test_joins():
    rng = np.random.default_rng(0)
    asked_, rows = rng.normal(size=(48, 20)).astype(np.float32), rng.normal(size=(5, 20)).astype(np.float32)
    codes = (asked_.view(np.uint32) >> 16).astype(np.uint16)
    floors = rng.normal(size=48).astype(np.float32)
    masks = joins(codes, floors, rows)
    wants = rows @ decode(codes).T >= floors
    np.testing.assert_array_equal((masks[:, :, None] >> np.arange(16)) & 1, wants.reshape(5, 3, 16))


def listed(index, slot: int) -> np.ndarray:
    ids, members = index.lists.entries(slot // CELL)
    return ids[members[slot % CELL]]


def check_lists(index) -> None:
    """Every training query's list is its exact best, as many as it has; a few near ties aside."""
    rows = index.keys.rows.take(np.arange(index.keys.start, index.keys.stop))
    wrong = total = 0
    for slot in range(0, len(index.lists.floors), 7):
        have = listed(index, slot)
        logits = rows @ index.cells.plain(np.array([slot]))[0]
        best = np.argsort(-logits)[: len(have)] + index.keys.start
        wrong += len(np.setdiff1d(have, best))
        total += len(have)
    assert total > 0
    assert wrong <= 0.03 * total  # queries are kept in bf16, so the ends of lists are a little blurred


def test_lists_stay_exact_as_keys_come():
    """Through appends, and through the cuts that they lead to."""
    rows = topics(7000, seed=6)
    index = QueryIVFEngine().build(Keys(Rows.of(rows, "bf16"), 8, 3000), asked(rows, 900, seed=1))
    check_lists(index)
    before = index.nbytes
    for stop in (3001, 3400, 7000):
        index.insert(stop)
        check_lists(index)
    assert index.nbytes == before
    assert np.mean([len(listed(index, slot)) for slot in range(0, len(index.lists.floors), 7)]) >= 60


def test_a_new_key_is_found_at_once():
    rows = topics(4000, seed=6)
    index = QueryIVFEngine().build(Keys(Rows.of(rows, "bf16"), 8, 3000), asked(rows, 900, seed=1))
    index.insert(4000)
    found = missed = 0
    for q in asked(rows, 60, seed=9)[:, None]:
        exact, here = index.keys.best(q, 16).ids[0], index.search(q, 16).ids[0]
        found += np.isin(exact[exact >= 3000], here).sum()
        missed += (~np.isin(exact[exact >= 3000], here)).sum()
    assert found > 0.9 * (found + missed)


@pytest.mark.parametrize("k", [1, 16, 100])
@pytest.mark.parametrize("group", [1, 4, 8])
def test_no_search_scores_more_than_its_budget(index, k, group):
    engine = index.engine
    for seed in range(10):
        found = index.search(asked(topics(6000, seed=0), group, seed), k)
        narrow = group * (4 + 64 + engine.probes * CELL)  # super cells, cells, queries of the opened cells
        bound = max(engine.budget * len(index.keys), narrow + max(1024, group * max(4 * k, engine.wanted)))
        assert k <= found.scanned <= bound


def test_a_budget_is_a_share_of_the_rows():
    rows = topics(60_000, seed=0)
    index = QueryIVFEngine(budget=0.03, training=512).build(keys_of(rows), asked(rows, 600, seed=1))
    assert all(index.search(q[None], 10).scanned <= 1800 for q in asked(rows, 20, seed=2))


def test_no_more_than_a_few_times_the_least_however_long_the_text():
    rows = topics(30_000, seed=0)
    index = QueryIVFEngine(budget=0.5, training=512, wanted=1024).build(keys_of(rows), asked(rows, 600, seed=1))
    scanned = {}
    for most in (1, 1.5, 2, None):
        index.engine = index.engine.model_copy(update={"most": most})
        scanned[most] = max(index.search(q[None], 10).scanned for q in asked(rows, 20, seed=2))
    narrow = 4 + 64 + index.engine.probes * CELL
    assert 1024 <= scanned[1] <= 1024 + narrow < scanned[1.5] <= 1536 + narrow < scanned[2] <= 2048 + narrow
    assert scanned[None] > 2048 + narrow


def test_memory_is_a_share_of_the_keys():
    rows = topics(60_000, seed=0)
    for memory in (0.1, 0.25):
        index = QueryIVFEngine(memory=memory).build(keys_of(rows), asked(rows, 600, seed=1))
        assert index.nbytes <= memory * 60_000 * 64 * 1.01


def test_a_row_that_nobody_wants():
    rows, queries = topics(3000, seed=0), np.abs(asked(topics(3000, seed=0), 900, seed=1))
    rows[2500:] = -np.abs(rows[2500:]) * 3
    index = QueryIVFEngine().build(Keys(Rows.of(rows, "bf16"), 8, 2500), queries)
    for stop in (2501, 2502, 3000):
        index.insert(stop)
        check_lists(index)
    assert (index.search(queries[:4], 16).ids < 2500).all()


def test_repair_brings_back_what_was_missed():
    """Queries unlike all training queries find little, and after an audit all."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8000, D)).astype(np.float32)
    usual = rng.normal(size=(900, D)).astype(np.float32) * 0.3 + 2
    index = QueryIVFEngine().build(keys_of(rows), usual)
    odd = rng.normal(size=(4, D)).astype(np.float32) * 0.3 - 2
    exact = index.keys.best(odd, 50).ids
    before, size = recall(index, odd, 50), index.nbytes
    index.repair(odd, exact)
    assert before < 0.5
    assert recall(index, odd, 50) > 0.95
    assert index.nbytes == size
    for _ in range(200):  # no matter how often
        index.repair(odd, exact)
    assert recall(index, odd, 50) > 0.95
    assert recall(index, usual[:40], 50) > 0.9


def test_a_repaired_index_comes_back(index):
    state = {name: array.copy() for name, array in index.state().items()}
    again = index.engine.restore(index.keys, state)
    q = asked(topics(6000, seed=0), 4, seed=77)
    again.repair(q, index.keys.best(q, 16).ids)
    assert recall(again, q) == 1
    once_more = index.engine.restore(index.keys, again.state())
    np.testing.assert_array_equal(once_more.search(q, 16).ids, again.search(q, 16).ids)


@pytest.mark.parametrize(
    "name", ["rotation", "spread", "asked", "norms", "centres", "supers", "steps", "masks", "counts", "floors"]
)
def test_a_damaged_state_is_refused(index, name):
    whole = index.state()
    assert set(whole) >= {name}
    broken = {
        "missing": {key: array for key, array in whole.items() if key != name},
        "cut short": {**whole, name: whole[name][:-1]},
        "of another type": {**whole, name: whole[name].astype(np.float64)},
        "of another shape": {**whole, name: whole[name][None]},
    }
    if whole[name].dtype.kind == "f":
        broken["not a number"] = {**whole, name: np.full_like(whole[name], np.nan)}
    for state in broken.values():
        with pytest.raises(StoreError, match="damaged"):
            index.engine.restore(index.keys, state)


def test_rows_that_are_not_there_are_refused(index):
    whole = index.state()
    shorter = Keys(index.keys.rows, 8, 2000)
    with pytest.raises(StoreError, match="steps"):
        index.engine.restore(shorter, whole)
    with pytest.raises(StoreError, match="counts"):
        index.engine.restore(index.keys, {**whole, "counts": whole["counts"] + 10_000})


def test_an_interrupted_insertion_changes_nothing(index, monkeypatch):
    rows = topics(6000, seed=0)
    index = QueryIVFEngine().build(Keys(Rows.of(rows, "bf16"), 8, 5000), asked(rows, 900, seed=1))
    q = asked(rows, 4, seed=3)
    before = index.search(q, 16).ids
    real, calls = CellLists.add, []

    def stops(self, cell, ids, masks):
        calls.append(cell)
        if len(calls) == 30:
            raise KeyboardInterrupt
        real(self, cell, ids, masks)

    monkeypatch.setattr(CellLists, "add", stops)
    with pytest.raises(KeyboardInterrupt):
        index.insert(6000)
    monkeypatch.setattr(CellLists, "add", real)
    assert index.keys.stop == 5000
    assert (index.search(q, 16).ids < 5000).all()
    np.testing.assert_array_equal(index.search(q, 16).ids, before)
    index.insert(6000)
    check_lists(index)


def test_an_interrupted_build_leaves_nothing(monkeypatch):
    rows = topics(3000, seed=0)
    keys, q = keys_of(rows), asked(rows, 600, seed=1)
    with monkeypatch.context() as patch:
        patch.setattr(Keys, "matrix", interrupted)
        with pytest.raises(KeyboardInterrupt):
            QueryIVFEngine().build(keys, q)
    first, second = (QueryIVFEngine().build(keys, q).state() for _ in range(2))
    assert (keys.start, keys.stop) == (8, 3000)
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_vectors(case):
    rows, queries = HOSTILE[case]
    queries = asked(topics(3000, seed=0), 900, seed=1) if queries is None else queries
    keys = Keys(Rows.of(rows, "bf16"), 8, 2000)
    index = QueryIVFEngine().build(keys, queries)
    index.insert(3000)
    q = asked(topics(3000, seed=0), 4, seed=2)
    found = index.search(q, 16)
    assert (found.ids >= 8).all()
    assert np.isfinite(found.logits).all()
    for query, ids, logits in zip(q, found.ids, found.logits):
        assert len(np.unique(ids)) == 16
        np.testing.assert_allclose(logits, keys.rows.take(ids) @ query, rtol=1e-3, atol=1e-2)
    index.repair(q, keys.best(q, 16).ids)
    assert recall(index, q) > 0.9 or case == "all keys equal"


def test_a_query_asked_before_is_within_the_budget():
    """Its own list is shorter than k, and nobody else has a say: the others of its cells are asked, not all rows."""
    rows = topics(20_000, seed=0)
    learned = asked(rows, 900, seed=1)
    index = QueryIVFEngine(wanted=30).build(keys_of(rows), learned)
    for q in learned[::90, None]:
        found = index.search(q, 100)
        assert (found.ids >= 0).all()
        assert found.scanned < 2000


def test_more_keys_than_lists_name():
    """A k larger than all lists together: every row is scored, none is invented."""
    rows = topics(20_000, seed=0)
    same = np.repeat(asked(rows, 1, seed=1), 300, axis=0)
    index = QueryIVFEngine(training=64, wanted=16).build(keys_of(rows), same)
    found = index.search(same[:1], 400)
    np.testing.assert_array_equal(np.sort(found.ids[0]), np.sort(index.keys.best(same[:1], 400).ids[0]))
