"""Self-feedback: the policy with scripted judges, the judges themselves, and the stage in a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.feedback.policy import FeedbackPolicy, best_of
from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.pipelines.judges.model import read
from fovea.pipelines.judges.support import SupportJudge
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.feedback import Grade
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Answer, Chunk, Hit, Query
from fovea.retrievers.gradient import GradientSelection
from fovea.retrievers.mass import MassSelection
from fovea.retrievers.selection import Selection


def ranked(n: int) -> list[Hit]:
    return [Hit(Chunk(f"d{i}", 0, 5, f"text{i}"), 0.9**i) for i in range(n)]


def by_rule(rule: Selection, hits: list[Hit]):
    """What a pipeline lets the policy choose from."""

    def select(steps: int) -> list[Hit] | None:
        moved = rule.moved(steps)
        if moved is None or (steps > 0 and moved.min_k > len(hits)):
            return None
        return hits[: moved.count([h.score for h in hits])]

    return select


def by_k(k: int, hits: list[Hit]):
    return lambda steps: hits[: k + steps] if not steps or 0 < k + steps <= len(hits) else None


def knows(gold: set[int]):
    """Answers nothing; grades by the share of the gold passages in the context: too little until all are there."""

    def attempt(steps: int, hits: Sequence[Hit]) -> tuple[int, Grade]:
        found = len(gold & {int(h.chunk.document_id[1:]) for h in hits}) / len(gold)
        return len(hits), Grade(1 + int(9 * found), int(found < 1))

    return attempt


class TestPolicy:
    @given(st.data())
    def test_the_gold_is_reached_in_the_least_possible_rounds(self, data):
        n = data.draw(st.integers(1, 20))
        start, needed = data.draw(st.integers(1, n)), data.draw(st.integers(1, n))
        rounds = data.draw(st.integers(1, 25))
        done = list(FeedbackPolicy(rounds=rounds).run(by_k(start, ranked(n)), knows({needed - 1})))
        least = max(0, needed - start) + 1
        assert len(done) == min(least, rounds)
        assert (done[best_of(done)].grade.grade == 10) == (least <= rounds)
        if least <= rounds:
            assert len(done[best_of(done)].hits) == max(start, needed)
            assert done[-1].stop == "the grade reaches 9"
        else:
            assert done[-1].stop == f"{rounds} rounds"

    @given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6))
    def test_steps_that_select_the_same_passages_cost_no_round(self, good, needed, min_k):
        """The rule keeps `good` passages at least, so the first `good - min_k` steps change nothing."""
        hits = [Hit(h.chunk, 0.99 if i < good else 0.01) for i, h in enumerate(ranked(12))]
        rule = GradientSelection(min_k=min_k)
        start = rule.count([h.score for h in hits])
        done = list(FeedbackPolicy(rounds=20).run(by_rule(rule, hits), knows({needed - 1})))
        assert done[-1].grade.grade == 10
        assert len({len(r.hits) for r in done}) == len(done)
        assert start == len(done[0].hits)
        if needed > start:
            # Behind the cliff all are alike, so that one step takes them all.
            assert [len(r.hits) for r in done] == [start, 12]

    def test_mass_moves_by_a_twentieth_until_the_gold_is_in(self):
        done = list(FeedbackPolicy(rounds=9).run(by_rule(MassSelection(target=0.5), ranked(20)), knows({9})))
        assert [len(r.hits) for r in done] == [6, 7, 8, 9, 10]
        assert [r.steps for r in done] == [0, 1, 2, 3, 4]

    def test_too_much_goes_down(self):
        def attempt(steps, hits):
            return None, Grade(9 if len(hits) == 3 else 5, -1)

        done = list(FeedbackPolicy(rounds=9).run(by_k(5, ranked(9)), attempt))
        assert [len(r.hits) for r in done] == [5, 4, 3]

    replies = st.lists(
        st.builds(Grade, st.one_of(st.none(), st.integers(1, 10)), st.sampled_from([-1, 0, 1])),
        min_size=30,
        max_size=30,
    )
    rules = st.one_of(
        st.builds(lambda m: lambda hits: by_rule(GradientSelection(min_k=m), hits), st.integers(1, 9)),
        st.builds(lambda t: lambda hits: by_rule(MassSelection(target=t / 20), hits), st.integers(1, 20)),
        st.builds(lambda k: lambda hits: by_k(k, hits), st.integers(1, 9)),
    )

    @given(replies, rules, st.integers(1, 15), st.integers(1, 9), st.integers(1, 3), st.data())
    def test_whatever_the_judge_says_no_bound_is_exceeded(self, replies, rule, n, rounds, step, data):
        floor = data.draw(st.integers(1, 6))
        ceil = data.draw(st.one_of(st.none(), st.integers(floor, 12)))
        policy = FeedbackPolicy(9, rounds, step, floor, ceil)
        given_grades = iter(replies)
        done = list(policy.run(rule(ranked(n)), lambda steps, hits: (len(hits), next(given_grades))))
        assert 1 <= len(done) <= rounds
        sizes = [len(r.hits) for r in done]
        assert all(size <= (ceil or n) for size in sizes)
        assert all(size >= min(floor, sizes[0]) for size in sizes)
        assert len({tuple(h.chunk.id for h in r.hits) for r in done}) == len(done), "no selection is answered twice"
        assert [bool(r.stop) for r in done] == [False] * (len(done) - 1) + [True], "the last round says why"
        for a, b in pairwise(done):
            assert (b.steps - a.steps) * a.grade.delta > 0, "it moves as the judge said"
            assert (b.steps - a.steps) % step == 0
        best = done[best_of(done)]
        assert all((r.grade.grade or 0) <= (best.grade.grade or 0) for r in done)

    @pytest.mark.parametrize(
        ("grades", "settings", "stop", "sizes"),
        [
            ([(9, 1)], {}, "the grade reaches 9", [4]),
            ([(3, 1), (4, -1)], {}, "cycle: those passages were tried before", [4, 5]),
            ([(3, 0)], {}, "nothing to change: neither too much nor too little", [4]),
            ([(None, 0)], {}, "the grade could not be read", [4]),
            ([(3, 1), (2, 1), (1, 1)], {}, "3 rounds", [4, 5, 6]),
            ([(3, 1)] * 5, {"rounds": 9}, "nothing to change: the selection can keep no more", [4, 5, 6]),
            ([(3, -1)] * 5, {"rounds": 9}, "nothing to change: the selection can keep no fewer", [4, 3, 2, 1]),
            ([(3, 1)] * 5, {"rounds": 9, "ceil": 5}, "at most 5 passages", [4, 5]),
            ([(3, -1)] * 5, {"rounds": 9, "floor": 3}, "at least 3 passages", [4, 3]),
            ([(3, 1)] * 5, {"ceil": 2}, "at most 2 passages", [2]),
        ],
    )
    def test_every_stop_has_its_reason(self, grades, settings, stop, sizes):
        replies = iter(grades)
        done = list(FeedbackPolicy(**settings).run(by_k(4, ranked(6)), lambda s, h: (None, Grade(*next(replies)))))
        assert ([len(r.hits) for r in done], done[-1].stop) == (sizes, stop)

    def test_the_best_is_the_first_of_the_highest(self):
        replies = iter([Grade(5, 1), Grade(7, 1), Grade(7, 1), Grade(2, 1)])
        done = list(FeedbackPolicy(rounds=4).run(by_k(1, ranked(9)), lambda s, h: (len(h), next(replies))))
        assert best_of(done) == 1


class TestReadingGrades:
    @pytest.mark.parametrize(
        ("reply", "grade", "delta"),
        [
            ('{"grade": 7, "change": 1}', 7, 1),
            (' {"change": -1, "grade": 10, "why": "x"}\n', 10, -1),
            ('```json\n{"grade": 1, "change": 0}\n```', 1, 0),
            ('{"grade": 8}', 8, 0),
            ("Grade: 8/10\nChange: +1", 8, 1),
            ("I think so.\n**grade:** 3\n- change = -1\n", 3, -1),
            ("grade: 10", 10, 0),
        ],
    )
    def test_read(self, reply, grade, delta):
        assert read(reply) == Grade(grade, delta, reply)

    @pytest.mark.parametrize(
        "reply",
        [
            "",
            "good",
            "7",
            "[7, 1]",
            "null",
            '{"grade": 11, "change": 0}',
            '{"grade": 0, "change": 0}',
            '{"grade": "7", "change": 1}',
            '{"grade": true, "change": 1}',
            '{"grade": 7.5, "change": 1}',
            '{"grade": 7, "change": 2}',
            '{"change": 1}',
            "The grade: 7 is what I would give",
            "grade: 7\ngrade: 8",
            "grade: 7\nchange: 1\nchange: -1",
            "grade: 70",
        ],
    )
    def test_what_is_no_grade_is_none(self, reply):
        assert read(reply) == Grade(None, 0, reply)

    @given(st.text())
    def test_any_text_is_read_or_not(self, reply):
        found = read(reply)
        assert found.grade is None or 1 <= found.grade <= 10
        assert found.delta in (-1, 0, 1)


TEXTS = {"tea": "Green tea is brewed at 80 degrees.", "moon": "The Moon has no air.", "nile": "The Nile is long."}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
HITS = [Hit(chunk, 0.5) for chunk in CORPUS.chunks()]


def extracted(question: str, hits: Sequence[Hit]) -> Answer:
    generator = ExtractiveGenerator()
    return generator.finish("".join(generator.stream(Query(question), hits, CORPUS)), Query(question), hits, CORPUS)


class TestSupportJudge:
    def grade(self, question: str, answer: Answer, hits=HITS) -> Grade:
        return SupportJudge().grade(Query(question), answer, hits, CORPUS)

    def test_a_refusal_is_the_worst_and_wants_more(self):
        assert self.grade("What is gold?", Answer(NO_ANSWER)) == Grade(1, 1, "no answer")
        assert self.grade("q", extracted("zebra?", ()), []).grade == 1

    def test_all_that_was_asked_in_the_evidence_is_the_best(self):
        question = "How is green tea brewed?"
        found = self.grade(question, extracted(question, HITS))
        assert (found.grade, found.delta) == (10, -1), "the last passages were of no use"
        assert self.grade(question, extracted(question, HITS[:1]), HITS[:1]).delta == 0

    def test_what_is_missing_lowers_it(self):
        question = "How is green tea brewed in Morocco?"
        found = self.grade(question, extracted(question, HITS))
        assert found.grade < 9
        assert found.delta == 1

    def test_an_unsupported_sentence_lowers_it(self):
        from fovea.pipelines.answering.citing import cite

        question = "How is green tea brewed?"
        text = "Green tea is brewed at 80 degrees. It was found by the emperor Shennong in 2737."
        found = self.grade(question, cite(text, HITS, CORPUS, question=question))
        assert (found.grade, found.delta) == (5, 1)
