"""Selection rules: the laws of SAGE's gradient rule, the mass and relative rules, and what they warn of."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, QueryError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.refiners import check_refined
from fovea.rag.trace import Trace
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.expected_recall import ExpectedRecallSelection
from fovea.retrievers.gradient import GradientSelection
from fovea.retrievers.mass import MassSelection
from fovea.retrievers.relative import RelativeSelection
from fovea.retrievers.selection import Selection

MODES = ("keep_ratio", "ratio", "difference")
RATIOS = ("keep_ratio", "ratio")
QUERY = Query("q")
CORPUS = MemoryCorpus.of({"a": "x"}, HashEncoder())

whole = st.lists(st.integers(1, 10_000), min_size=1, max_size=30).map(lambda n: sorted(map(float, n), reverse=True))
shares = st.sampled_from([1 / 16, 1 / 8, 1 / 4, 1 / 2, 3 / 4, 7 / 8])  # exact in binary, so that laws hold to the bit
modes = st.sampled_from(MODES)
rules = st.one_of(
    st.builds(GradientSelection, min_k=st.integers(1, 9), g=shares, mode=modes),
    st.builds(MassSelection, min_k=st.integers(1, 9), target=shares),
    st.builds(RelativeSelection, min_k=st.integers(1, 9), share=shares),
)


def smooth(n: int = 20) -> list[float]:
    """A re-ranker that is never sure: probabilities fall by a tenth a rank."""
    return [0.6 * 0.9**i for i in range(n)]


def groups(good: int, n: int = 20) -> list[float]:
    """A saturated re-ranker: some passages near 1, the others near 0."""
    return [0.999 - 0.001 * i for i in range(good)] + [0.01 - 0.0001 * i for i in range(n - good)]


def hits_of(scores: list[float], texts: list[str] | None = None) -> list[Hit]:
    texts = texts or [f"passage number {i} of its own" for i in range(len(scores))]
    return [Hit(Chunk(f"d{i}", 0, len(t), t), s) for i, (t, s) in enumerate(zip(texts, scores))]


def run(rule: Selection, hits: list[Hit]) -> tuple[list[Hit], Trace]:
    trace = Trace()
    with trace.stage("s"):
        return rule.refine(QUERY, hits, CORPUS), trace


class TestEveryRule:
    @given(rules, whole)
    def test_keeps_between_the_least_and_all(self, rule, scores):
        assert min(rule.min_k, len(scores)) <= rule.count(scores) <= len(scores)

    @given(rules, whole, st.integers(1, 30))
    def test_keeps_max_k_at_most(self, rule, scores, most):
        assume(most >= rule.min_k)
        capped = rule.model_copy(update={"max_k": most})
        assert capped.count(scores) == min(rule.count(scores), most)

    @given(rules, whole, st.sampled_from([2.0**-20, 0.5, 3.0, 1024.0]))
    def test_does_not_mind_a_factor(self, rule, scores, factor):
        assert rule.count([factor * s for s in scores]) == rule.count(scores)

    @given(rules, whole, st.randoms(use_true_random=False))
    def test_order_of_the_list_does_not_matter_and_ties_keep_it(self, rule, scores, random):
        hits = hits_of([s / 10_000 for s in scores])
        shuffled = list(hits)
        random.shuffle(shuffled)
        kept, _ = run(rule, shuffled)
        assert [h.score for h in kept] == [h.score for h in run(rule, hits)[0]]
        order = {h.chunk.id: i for i, h in enumerate(shuffled)}
        for a, b in pairwise(kept):
            assert a.score > b.score or order[a.chunk.id] < order[b.chunk.id]

    @given(rules, st.integers(-3, 3))
    def test_moves_by_steps_and_back_within_its_bounds(self, rule, steps):
        moved = rule.moved(steps)
        if moved is None:
            return
        type(rule).model_validate(moved.settings())
        assert set(moved.position) == set(rule.position)
        if "min_k" in rule.position:
            assert moved.min_k == rule.min_k + steps >= 1

    @given(rules, whole, st.integers(1, 5))
    def test_a_generous_step_never_keeps_less(self, rule, scores, steps):
        if (moved := rule.moved(steps)) is not None:
            assert moved.count(scores) >= rule.count(scores)

    @pytest.mark.parametrize("rule", [GradientSelection(), MassSelection(), RelativeSelection()], ids=lambda r: r.name)
    @pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
    def test_refuses_what_is_no_probability(self, rule, bad):
        with pytest.raises(QueryError, match=rf"{rule.name}: the hit at rank \d has the score"):
            rule.count([0.5, bad])

    def test_no_hits_and_bounds(self):
        for rule in (GradientSelection(), MassSelection(), RelativeSelection()):
            assert run(rule, [])[0] == []
        with pytest.raises(ValidationError, match=r"max_k \(2\) must not be under min_k \(3\)"):
            MassSelection(min_k=3, max_k=2)

    def test_every_dropped_hit_has_its_reason(self):
        for rule, reason in (
            (GradientSelection(min_k=1), "after the fall from 0.997 to 0.01"),
            (MassSelection(), "the first 3 hold 95.0% of the probability"),
            (RelativeSelection(), "0.0085 is under 0.1 of the best (0.999)"),
            (RelativeSelection(max_k=2), "below the first 2, the most that are kept"),
        ):
            hits = hits_of(groups(3))
            kept, trace = run(rule, hits)
            assert len(kept) == (rule.max_k or 3)
            assert set(trace.stages[0].dropped) == {h.chunk.id for h in hits[len(kept) :]}
            assert reason in trace.stages[0].dropped.values()


class TestGradient:
    def brute(self, scores: list[float], min_k: int, g: float, mode: str) -> int:
        """The rule as the paper's algorithm is written."""
        n, k = len(scores), min(min_k, len(scores))
        while k < n:
            stop = {
                "ratio": scores[k] < (1 - g) * scores[k - 1],
                "keep_ratio": scores[k] < g * scores[k - 1],
                "difference": scores[k - 1] - scores[k] > g * (scores[0] - scores[n - 1]),
            }
            if stop[mode]:
                break
            k += 1
        return k

    @given(whole, st.integers(1, 9), shares, modes)
    def test_is_the_algorithm(self, scores, min_k, g, mode):
        assert GradientSelection(min_k=min_k, g=g, mode=mode).count(scores) == self.brute(scores, min_k, g, mode)

    @given(whole, st.integers(1, 9), shares, st.integers(-5000, 5000))
    def test_difference_does_not_mind_a_constant(self, scores, min_k, g, constant):
        assume(scores[-1] + constant >= 0)
        rule = GradientSelection(min_k=min_k, g=g, mode="difference")
        assert rule.count([s + constant for s in scores]) == rule.count(scores)

    @given(st.integers(1, 12), st.integers(1, 12), shares, modes)
    def test_two_plateaus_are_told_apart_at_the_edge(self, high, low, g, mode):
        scores = [1024.0] * high + [1.0] * low
        assert GradientSelection(min_k=1, g=g, mode=mode).count(scores) == high

    @given(whole, st.integers(1, 9), modes, shares, shares)
    def test_is_monotone_in_g(self, scores, min_k, mode, g, h):
        less, more = sorted((g, h))
        few, many = (GradientSelection(min_k=min_k, g=x, mode=mode).count(scores) for x in (less, more))
        assert few >= many if mode == "keep_ratio" else few <= many

    @given(whole, shares, modes, st.integers(1, 9), st.integers(1, 9))
    def test_is_monotone_in_min_k(self, scores, g, mode, a, b):
        few, many = sorted((a, b))
        counts = [GradientSelection(min_k=x, g=g, mode=mode).count(scores) for x in (few, many)]
        assert counts[0] <= counts[1]

    @pytest.mark.parametrize("mode", RATIOS)
    @pytest.mark.parametrize("score", [0.0, -2.0])
    def test_ratios_refuse_scores_that_have_none(self, mode, score):
        with pytest.raises(QueryError, match="has the score"):
            GradientSelection(mode=mode).count([0.9, score])

    def test_differences_read_zero(self):
        assert GradientSelection(mode="difference", min_k=1).count([0.9, 0.0, 0.0]) == 1

    def test_an_outlier_stops_difference_at_the_least(self):
        assert GradientSelection(mode="difference", min_k=3).count([1.0, 0.2, 0.19, 0.18, 0.17]) == 5
        assert GradientSelection(mode="difference", min_k=1).count([1.0, 0.2, 0.19, 0.18, 0.17]) == 1

    @pytest.mark.parametrize("mode", MODES)
    @pytest.mark.parametrize("good", [1, 3, 12])
    def test_a_saturated_re_ranker_is_what_it_was_made_for(self, mode, good):
        assert GradientSelection(min_k=1, mode=mode).count(groups(good)) == good

    @pytest.mark.parametrize("mode", MODES)
    def test_a_smooth_list_has_no_cliff_and_it_says_so(self, mode):
        kept, trace = run(GradientSelection(min_k=1, mode=mode), hits_of(smooth()))
        assert len(kept) == 20
        assert list(trace.warnings) == [
            "gradient: no score falls sharply from the one before it: the number of hits decided"
        ]


class TestMass:
    @given(whole, shares)
    def test_is_the_smallest_that_holds_the_share(self, scores, target):
        k = MassSelection(target=target).count(scores)
        assert sum(scores[:k]) >= target * sum(scores)
        assert k == 1 or sum(scores[: k - 1]) < target * sum(scores)

    @given(whole, shares, shares)
    def test_is_monotone_in_the_target(self, scores, a, b):
        less, more = sorted((a, b))
        assert MassSelection(target=less).count(scores) <= MassSelection(target=more).count(scores)

    def test_reads_both_shapes(self):
        assert MassSelection().count(groups(3)) == 3
        assert MassSelection().count(groups(12)) == 10
        assert MassSelection().count(smooth()) == 12

    def test_moves_by_a_twentieth_and_stops_at_all(self):
        assert MassSelection(target=0.8).moved(1).target == 0.85
        assert MassSelection(target=0.8).moved(-2).target == 0.7
        assert MassSelection(target=0.8).moved(4).target == 1
        assert MassSelection(target=0.8).moved(5) is None
        assert MassSelection(target=0.97).moved(1).target == 1
        assert MassSelection(target=0.97).moved(2) is None
        assert MassSelection(target=0.1).moved(-2) is None

    def test_no_mass_is_said(self):
        kept, trace = run(MassSelection(), hits_of([0.0, 0.0, 0.0]))
        assert len(kept) == 3
        assert list(trace.warnings) == ["mass: all probabilities are 0: they do not say how many passages are needed"]


class TestRelative:
    @given(whole, shares)
    def test_is_the_formula(self, scores, share):
        assert RelativeSelection(share=share).count(scores) == len([s for s in scores if s >= share * scores[0]])

    def test_reads_both_shapes(self):
        assert RelativeSelection().count(groups(3)) == 3
        assert RelativeSelection().count(groups(12)) == 12
        assert RelativeSelection().count(smooth()) == 20
        assert RelativeSelection(share=0.3).count(smooth()) == 12


class TestExpectedRecall:
    def hits(self, scores: list[float], lengths: list[int]) -> tuple[MemoryCorpus, list[Hit]]:
        texts = {f"d{i}": " ".join(["word"] * n) for i, n in enumerate(lengths)}
        corpus = MemoryCorpus.of(texts, HashEncoder())
        return corpus, [Hit(c, s) for c, s in zip(corpus.chunks(), scores)]

    @given(
        st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 40)), min_size=1, max_size=12),
        st.sampled_from([0.25, 0.5, 1.0, 2.0, 4.0]),
        st.integers(1, 4),
        st.one_of(st.none(), st.integers(4, 6)),
    )
    def test_is_the_formula(self, rows, worth, min_k, max_k):
        rows = sorted(rows, key=lambda row: -row[0])
        corpus, hits = self.hits([p / 1024 for p, _ in rows], [n for _, n in rows])
        total = sum(p / 1024 for p, _ in rows)
        good = [h for i, (h, (_, n)) in enumerate(zip(hits, rows)) if i < min_k or 100 * (h.score / total) >= worth * n]
        rule = ExpectedRecallSelection(worth=worth, min_k=min_k, max_k=max_k)
        assert rule.refine(QUERY, hits, corpus) == good[:max_k]

    @given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 40)), min_size=2, max_size=9), st.data())
    def test_no_choice_of_as_many_tokens_is_expected_to_hold_more(self, rows, data):
        """Over any other choice that costs no more than the rule's, its expected share is at least as high."""
        rows = sorted(rows, key=lambda row: -row[0])
        corpus, hits = self.hits([p / 1024 for p, _ in rows], [n for _, n in rows])
        kept = ExpectedRecallSelection(worth=data.draw(st.floats(0.1, 3))).refine(QUERY, hits, corpus)
        kept_ids = {h.chunk.id for h in kept}
        assume(len(kept) > 1)  # One alone may be there only because something must be.
        mine = [(p, n) for h, (p, n) in zip(hits, rows) if h.chunk.id in kept_ids]
        price = min(p / n for p, n in mine[1:])
        assume(mine[0][0] / mine[0][1] >= price)
        taken = data.draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)))
        other = [row for row, wanted in zip(rows, taken) if wanted]
        if sum(n for _, n in other) <= sum(n for _, n in mine):
            assert sum(p for p, _ in other) <= sum(p for p, _ in mine)

    def test_a_short_passage_needs_less(self):
        corpus, hits = self.hits([0.4, 0.1, 0.1], [40, 40, 4])
        trace = Trace()
        with trace.stage("s") as stage:
            kept = ExpectedRecallSelection(worth=1).refine(QUERY, hits, corpus)
        assert [h.chunk.document_id for h in kept] == ["d0", "d2"]
        assert list(stage.dropped.values()) == ["16.7% of the evidence expected in 40 tokens"]

    def test_where_nothing_is_worth_it_the_best_are_kept_and_it_says_so(self):
        corpus, hits = self.hits([0.1] * 3 + [0.0999] * 17, [40] * 20)
        trace = Trace()
        with trace.stage("s"):
            assert ExpectedRecallSelection(worth=1, min_k=2).refine(QUERY, hits, corpus) == hits[:2]
        said = "expected_recall: the best hits are hardly more likely than the others: the first 2 are kept"
        assert said in trace.warnings
        corpus, hits = self.hits([0.0, 0.0], [4, 4])
        with trace.stage("zero"):
            assert ExpectedRecallSelection().refine(QUERY, hits, corpus) == hits[:1]
        assert "expected_recall: all probabilities are 0: the first 1 are kept" in trace.stages[1].warnings

    def test_feedback_moves_the_price_within_bounds(self):
        rule = ExpectedRecallSelection(worth=0.05)
        assert rule.moved(1).worth == pytest.approx(0.04)
        assert rule.moved(-1).worth == pytest.approx(0.0625)
        assert rule.moved(31) is rule.moved(-31) is None
        corpus, hits = self.hits([0.9 * 0.8**i for i in range(12)], [20] * 12)
        counts = [len(rule.moved(i).refine(QUERY, hits, corpus)) for i in range(-30, 31)]
        assert counts == sorted(counts)
        assert (counts[0], counts[-1]) == (1, 12)


class TestWarnings:
    @pytest.mark.parametrize(
        "rule",
        [GradientSelection(min_k=1), MassSelection(), RelativeSelection(), ExpectedRecallSelection()],
        ids=lambda r: r.name,
    )
    def test_saturated_scores_say_nothing(self, rule):
        _, trace = run(rule, hits_of([0.999, 0.998, 0.997, 0.996]))
        assert [w.partition(": ")[2][:38] for w in trace.warnings] == ["all probabilities are at least 0.99: t"]

    def test_a_list_that_is_not_longer_than_the_least_is_no_doubt(self):
        assert not run(GradientSelection(min_k=7), hits_of(smooth(7)))[1].warnings
        assert not run(MassSelection(), hits_of([0.999]))[1].warnings

    def test_copies_on_a_plateau_are_counted(self):
        texts = ["The Danube is long.", "the danube is LONG!", "The Nile is longer."]
        _, trace = run(RelativeSelection(), hits_of([0.5, 0.5, 0.01], texts))
        said = "relative: passages that repeat a better one count twice; put near_duplicates before"
        assert trace.warnings == {said: 1}
        assert not run(RelativeSelection(), hits_of([0.9, 0.5, 0.01], texts))[1].warnings, "no plateau"

    def test_overlapping_spans_on_a_plateau_are_copies(self):
        a, b = Chunk("d", 0, 10, "aaaa bbbbb"), Chunk("d", 4, 14, "bbbbb cccc")
        _, trace = run(RelativeSelection(), [Hit(a, 0.5), Hit(b, 0.5), Hit(Chunk("e", 0, 1, "z"), 0.001)])
        assert sum(trace.warnings.values()) == 1


def test_chains_that_have_no_probabilities_are_refused():
    with pytest.raises(ConfigError, match=r"refine\[0\]: mass needs probabilities from a stage before it"):
        Pipeline(encoder="hash", refine="mass")
    Pipeline(encoder="hash", refine=["cross_encoder", "mass"])
    Pipeline(encoder="hash", refine=["cross_encoder", "mmr"])
    with pytest.raises(ConfigError, match=r"refine\[2\]: gradient needs probabilities"):
        Pipeline(encoder="hash", refine=["cross_encoder", "mmr", "gradient"])


@given(
    st.one_of(rules, st.builds(ExpectedRecallSelection, min_k=st.integers(1, 5), worth=st.floats(0.1, 20))),
    st.lists(st.floats(0.001, 1), max_size=12),
)
def test_rules_are_refiners(rule, scores):
    texts = {f"n{i}": f"text {i}" for i in range(len(scores))}
    corpus = MemoryCorpus.of(texts, HashEncoder())
    check_refined(rule, QUERY, [Hit(c, s) for c, s in zip(corpus.chunks(), scores)], corpus)
