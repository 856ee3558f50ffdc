"""Span metrics: by hand, by definition, and their invariants."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.evaluation.span_metrics import Line, covered, length, precision_omega, score, union, within_budget
from fovea.rag.errors import QueryError


def spans(*pairs):
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def one(gold, found, **switches):
    result = score([gold], [found], **switches)
    return result.recall[0], result.precision[0], result.iou[0]


BY_HAND = {
    "exact hit": (spans((10, 20)), spans((10, 20)), (1, 1, 1)),
    "half of it": (spans((10, 20)), spans((15, 25)), (1 / 2, 1 / 2, 5 / 15)),
    "inside a larger passage": (spans((10, 20)), spans((0, 50)), (1, 1 / 5, 1 / 5)),
    "abuts only": (spans((10, 20)), spans((20, 30)), (0, 0, 0)),
    "two overlapping passages count twice": (spans((0, 10)), spans((0, 10), (5, 15)), (1, 10 / 20, 10 / 20)),
    "two excerpts, one found": (spans((0, 10), (50, 60)), spans((0, 20)), (1 / 2, 1 / 2, 10 / 30)),
    "a foreign document counts in the denominator": (spans((0, 10)), spans((0, 10), (1000, 1030)), (1, 1 / 4, 1 / 4)),
    "gold excerpts that overlap count once": (spans((0, 10), (5, 15)), spans((0, 15)), (1, 1, 1)),
    "nothing found": (spans((0, 10)), spans(), (0, 0, 0)),
}


@pytest.mark.parametrize(("gold", "found", "expected"), BY_HAND.values(), ids=BY_HAND)
def test_by_hand(gold, found, expected):
    assert one(gold, found) == pytest.approx(expected)


def test_shared_characters_can_count_once():
    assert one(spans((0, 10)), spans((0, 10), (5, 15)), twice=False) == pytest.approx((1, 10 / 15, 10 / 15))


def test_omega_by_hand():
    chunks = spans((0, 10), (10, 30), (30, 40))
    gold = [spans((10, 20)), spans((5, 15)), spans((38, 50))]
    assert precision_omega(gold, chunks) == pytest.approx([10 / 20, 10 / 30, 2 / 20])
    assert precision_omega(gold, chunks, closed=True) == pytest.approx([10 / 30, 10 / 30, 2 / 20])
    assert precision_omega(gold, spans()) == pytest.approx([0, 0, 0])


def test_budget_by_hand():
    ranked = spans((0, 100), (200, 240), (300, 310))
    assert within_budget(ranked, [10, 10, 10], 15).tolist() == [[0, 100], [200, 220]]
    assert within_budget(ranked, [10, 10, 10], 10).tolist() == [[0, 100]]
    assert within_budget(ranked, [10, 10, 10], 99).tolist() == ranked.tolist()
    assert within_budget(spans(), [], 5).tolist() == []


def test_a_line_of_documents():
    line = Line({"a": 10, "b": 5})
    assert line.spans([("a", 2, 4), ("b", 0, 5)]).tolist() == [[2, 4], [10, 15]]
    with pytest.raises(QueryError, match="no span"):
        line.spans([("a", 2, 11)])
    with pytest.raises(QueryError, match="did you mean"):
        Line({"report": 3}).spans([("reports", 0, 1)])


def test_a_question_without_gold_is_an_error():
    with pytest.raises(QueryError, match="question 0 has no gold"):
        score([spans()], [spans((0, 3))])


LISTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 20)), max_size=8).map(
    lambda pairs: spans(*[(a, a + n) for a, n in pairs])
)
GOLD = LISTS.filter(lambda s: length(s) > 0)


def characters(some):
    return {at for a, b in some.tolist() for at in range(a, b)}


@given(LISTS, LISTS)
def test_union_and_cover_are_what_sets_say(some, others):
    merged = union(some)
    assert characters(merged) == characters(some)
    assert length(merged) == len(characters(some))
    assert (merged[1:, 0] > merged[:-1, 1]).all()
    assert covered(others, some).tolist() == [len(set(range(a, b)) & characters(some)) for a, b in others.tolist()]


@given(GOLD, LISTS)
def test_scores_are_what_sets_say(gold, found):
    wanted, read = characters(gold), characters(found)
    recall, precision, iou = one(gold, found)
    assert recall == pytest.approx(len(wanted & read) / len(wanted))
    assert precision == pytest.approx(len(wanted & read) / length(found) if length(found) else 0)
    assert iou == pytest.approx(len(wanted & read) / (length(found) + len(wanted - read)))
    assert 0 <= iou <= min(recall, precision) + 1e-12 <= 1 + 1e-12
    once = one(gold, found, twice=False)
    assert once[0] == recall
    assert once[1] >= precision


@given(GOLD, st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_a_perfect_retriever_has_the_precision_omega(gold, sizes):
    gold, ends = union(gold), np.cumsum(sizes)
    chunks = np.stack([ends - sizes, ends], axis=1)
    touching = chunks[((chunks[:, :1] < gold[:, 1]) & (chunks[:, 1:] > gold[:, 0])).any(axis=1)]
    omega = precision_omega([gold], chunks)[0]
    recall, precision, iou = one(gold, touching)
    assert omega == pytest.approx(iou), "with recall 1 that is its precision"
    assert omega >= one(gold, chunks)[2] - 1e-12, "more chunks only add what is not wanted"
    assert recall < 1 or omega == pytest.approx(precision)


@given(GOLD, LISTS, st.integers(1, 40), st.integers(1, 40))
def test_recall_rises_with_the_budget(gold, ranked, small, more):
    sizes = np.maximum(1, (ranked[:, 1] - ranked[:, 0]) // 4)
    recalls = [one(gold, within_budget(ranked, sizes, budget))[0] for budget in (small, small + more)]
    assert recalls[0] <= recalls[1] + 1e-12
