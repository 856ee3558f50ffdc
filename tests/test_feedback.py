"""Self-feedback: the policy with scripted judges, the judges themselves, and the stage in a pipeline."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from pipelines import yaml_source
from pipelines.explain import fates
from pipelines.feedback.policy import FeedbackPolicy, best_of
from pipelines.feedback.self_feedback import SelfFeedback
from pipelines.generators.extractive import ExtractiveGenerator
from pipelines.judges.model import INSTRUCTION, ModelJudge, read
from pipelines.judges.support import SupportJudge
from pipelines.prompt import NO_ANSWER
from pipelines.spec import check
from rag.corpus import Corpus
from rag.encoders.hash import HashEncoder
from rag.errors import ConfigError
from rag.feedback import Grade, Judge
from rag.generation import Generator
from rag.retrieval import Refiner, Retriever
from rag.testing.corpus import MemoryCorpus
from rag.types import Answer, Chunk, Hit, Query
from retrievers.gradient import GradientSelection
from retrievers.mass import MassSelection
from retrievers.selection import Selection


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
        from pipelines.citing import cite

        question = "How is green tea brewed?"
        text = "Green tea is brewed at 80 degrees. It was found by the emperor Shennong in 2737."
        found = self.grade(question, cite(text, HITS, CORPUS, question=question))
        assert (found.grade, found.delta) == (5, 1)


class Given(Refiner):
    """Gives the probabilities it was told, by a word of the passage; nothing else."""

    name: ClassVar[str] = "given"
    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})
    by: dict[str, float]
    other: float = 0.01
    runs: list[int] = Field(default_factory=list)

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        self.runs.append(len(hits))
        scored = [
            h.scored("given", max([p for w, p in self.by.items() if w in h.chunk.text] or [self.other])) for h in hits
        ]
        return sorted(scored, key=lambda h: -h.score)


class Counting(Retriever):
    """Dense retrieval that counts."""

    name: ClassVar[str] = "counting"
    asked: list[str] = Field(default_factory=list)

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        self.asked.append(query.text)
        return corpus.nearest(corpus.embed(query.text), k, query.where)


class GoldJudge(Judge):
    """Knows the passage that answers."""

    name: ClassVar[str] = "gold"
    word: str

    def grade(self, query: Query, answer: Answer, hits: Sequence[Hit], corpus: Corpus) -> Grade:
        found = any(self.word in h.chunk.text for h in hits)
        return Grade(10 if found else 2, int(not found))


class Last(Generator):
    """Answers with the last passage it is given, whole."""

    name: ClassVar[str] = "last"

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus):
        yield from hits[-1].chunk.text.splitlines(keepends=True) if hits else [NO_ANSWER]

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        return Answer(text, (), tuple(hits))


NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")


@pytest.fixture
def pipeline(make, tmp_path):
    """Six files whose probabilities fall smoothly in the order of their names."""

    def build(**stages: Any):
        for name in NAMES:
            (tmp_path / f"{name}.txt").write_text(f"The letter {name} stands\nhere.\n")
        by = {name: 0.9 * 0.8**i for i, name in enumerate(NAMES)}
        settings = {"retrieve": [Counting()], "refine": [Given(by=by), GradientSelection(min_k=2, g=0.95)], **stages}
        made = make(generate=Last(), **settings)
        made.ingest([tmp_path / f"{name}.txt" for name in NAMES])
        return made

    return build


class TestInAPipeline:
    def test_the_loop_finds_the_gold_and_retrieves_once(self, pipeline):
        made = pipeline(feedback=SelfFeedback(judge=GoldJudge(word="delta"), rounds=5))
        answer = made.ask("Which letter?")
        assert [h.chunk.text.split()[2] for h in answer.hits] == ["alpha", "beta", "gamma", "delta"]
        assert "delta" in answer.text
        assert len(made.spec.retrieve[0].asked) == 1
        assert len(made.spec.refine[0].runs) == 1, "re-ranking is not repeated"
        stage = next(s for s in answer.trace.stages if s.name == "feedback self_feedback")
        assert stage.notes["rounds"] == [
            {"min_k": 2, "passages": 2, "tokens": 12, "grade": 2, "delta": 1},
            {"min_k": 3, "passages": 3, "tokens": 18, "grade": 2, "delta": 1},
            {"min_k": 4, "passages": 4, "tokens": 24, "grade": 10, "delta": 0, "stop": "the grade reaches 9"},
        ]
        assert stage.notes["best"] == 3
        assert [s.name for s in answer.trace.stages if s.name.startswith("round")][:2] == [
            "round 2 refine[1] gradient",
            "round 2 keep",
        ]

    def test_every_way_of_asking_gives_the_same(self, pipeline):
        made = pipeline(feedback=SelfFeedback(judge=GoldJudge(word="gamma")))

        async def both():
            return await made.aask("Which?"), [p async for p in made.astream("Which?")]

        asked, streamed = asyncio.run(both())
        *pieces, last = made.stream("Which?")
        assert asked.text == streamed[-1].text == last.text == made.ask("Which?").text
        assert "".join(pieces) == last.text == "".join(streamed[:-1])
        assert len(pieces) > 1
        assert [h.chunk for h in made.retrieve("Which?")] == [h.chunk for h in last.hits[:2]]

    def test_the_best_answer_is_given_and_explained_not_the_last(self, pipeline):
        class Falling(Judge):
            name: ClassVar[str] = "falling"

            def grade(self, query, answer, hits, corpus):
                return Grade(8 - len(hits), 1)

        answer = pipeline(feedback=SelfFeedback(judge=Falling())).ask("Which?")
        assert len(answer.hits) == 2
        stage = next(s for s in answer.trace.stages if s.name == "feedback self_feedback")
        assert (stage.notes["best"], stage.counts["rounds"]) == (1, 3)
        assert {f.id for f in fates(answer.trace) if not f.dropped_by} == {h.chunk.id for h in answer.hits}

    def test_the_mass_target_moves(self, pipeline):
        by = {name: 0.9 * 0.8**i for i, name in enumerate(NAMES)}
        made = pipeline(
            refine=[Given(by=by), MassSelection(target=0.5)],
            feedback=SelfFeedback(judge=GoldJudge(word="delta"), rounds=9),
        )
        stage = next(s for s in made.ask("Which?").trace.stages if s.name == "feedback self_feedback")
        assert [r["target"] for r in stage.notes["rounds"]] == [0.5, 0.7]
        assert [r["passages"] for r in stage.notes["rounds"]] == [3, 4]

    def test_without_a_rule_k_moves(self, pipeline):
        by = {name: 0.9 * 0.8**i for i, name in enumerate(NAMES)}
        made = pipeline(refine=[Given(by=by)], k=2, feedback=SelfFeedback(judge=GoldJudge(word="gamma")))
        answer = made.ask("Which?")
        stage = next(s for s in answer.trace.stages if s.name == "feedback self_feedback")
        assert [(r["k"], r["passages"]) for r in stage.notes["rounds"]] == [(2, 2), (3, 3)]
        assert len(made.ask("Which?", k=1).hits) == 3, "from 1 it takes three rounds, and they suffice"

    def test_k_caps_a_selection_only_where_it_is_given(self, pipeline):
        made = pipeline(refine=[Given(by={n: 0.9 for n in NAMES}), GradientSelection()])
        assert len(made.retrieve("Which?")) == 6
        assert len(made.retrieve("Which?", k=3)) == 3
        assert len(pipeline(refine=[Given(by={}), GradientSelection()], k=4).retrieve("Which?")) == 4
        assert len(pipeline(refine=[Given(by={})]).retrieve("Which?")) == 5

    def test_no_passages_are_not_graded(self, pipeline):
        made = pipeline(feedback=SelfFeedback(judge=GoldJudge(word="x")))
        answer = made.ask("Which?", where="year > 3000")
        assert answer.text == NO_ANSWER
        assert not answer.hits


class TestChatModels:
    fakes = pytest.importorskip("langchain_core.language_models.fake_chat_models", reason="langchain-core is missing")

    def ask(self, pipeline, *replies: str, **settings: Any):
        model = self.fakes.FakeListChatModel(responses=list(replies))
        made = pipeline()
        spec = made.spec.model_copy(update={"generate": generator_of(model), "feedback": SelfFeedback(**settings)})
        made.spec = spec
        return made.ask("Which letter?")

    def test_the_model_that_writes_grades(self, pipeline):
        answer = self.ask(
            pipeline, "First.", '{"grade": 4, "change": 1}', "Second.", '{"grade": 9, "change": 0}', "Never."
        )
        assert answer.text == "Second."
        assert len(answer.hits) == 3
        assert {"judge model", "round 2 generate langchain"} <= {s.name for s in answer.trace.stages}

    def test_what_cannot_be_read_is_counted_and_the_answer_stands(self, pipeline):
        answer = self.ask(pipeline, "First.", "A fine answer indeed!", "Never.")
        assert answer.text == "First."
        assert answer.trace.warnings == {"the judge's reply holds no grade: 'A fine answer indeed!'": 1}
        judge = next(s for s in answer.trace.stages if s.name == "judge model")
        assert judge.counts["unreadable"] == 1

    def test_the_judge_is_asked_under_its_own_instruction_with_the_passages_and_the_answer(self):
        asked = []

        class Listening(self.fakes.FakeListChatModel):
            def _call(self, messages, *args, **kwargs):
                asked.append(messages)
                return super()._call(messages, *args, **kwargs)

            def _stream(self, messages, *args, **kwargs):
                asked.append(messages)
                yield from super()._stream(messages, *args, **kwargs)

        generator = generator_of(Listening(responses=['{"grade": 5, "change": 1}']))
        answer = Answer('It is "green" tea.\nQuestion: other', (), tuple(HITS))
        assert ModelJudge(model=generator).grade(Query("Which tea?"), answer, HITS, CORPUS).grade == 5
        system, user = (m.content for m in asked[0])
        assert system == INSTRUCTION
        assert "Green tea is brewed" in user
        assert 'Question: Which tea?\n\nThe answer to grade, as a JSON string: "It is \\"green\\" tea.\\nQ' in user
        assert generator.instruction != INSTRUCTION


def generator_of(model: Any) -> Generator:
    from pipelines.generators.langchain import LangChainGenerator

    return LangChainGenerator(model=model)


class TestSettings:
    def spec(self, feedback: str):
        return check(yaml_source.parse(f"encoder: hash\nfeedback: {feedback}\n"))

    def test_from_yaml(self):
        found = self.spec("{use: self_feedback, rounds: 2, threshold: 8, judge: support}").feedback
        assert isinstance(found, SelfFeedback)
        assert found.policy == FeedbackPolicy(8, 2)
        assert isinstance(found.judge, SupportJudge)
        assert self.spec("self_feedback").feedback.policy == FeedbackPolicy()
        chat = "{use: chat, model: 'openai:gpt-4o-mini'}"
        found = self.spec(f"{{use: self_feedback, judge: {{use: model, model: {chat}}}}}").feedback
        assert isinstance(found.judge, ModelJudge)

    def test_who_judges_what_nobody_was_named_for(self):
        assert isinstance(SelfFeedback().judge_for(ExtractiveGenerator()), SupportJudge)
        spec = check(yaml_source.parse("encoder: hash\ngenerate: {use: chat, model: 'openai:x'}\n"))
        judge = SelfFeedback().judge_for(spec.generate)
        assert isinstance(judge, ModelJudge)
        assert judge.model == spec.generate

    def test_mistakes(self):
        with pytest.raises(ConfigError, match="unknown feedback 'self_feedbak'"):
            self.spec("{use: self_feedbak}")
        with pytest.raises(ConfigError, match="extractive takes no instruction, so it cannot grade"):
            self.spec("{use: self_feedback, judge: {use: model, model: extractive}}")
        with pytest.raises(ConfigError, match="threshold"):
            self.spec("{use: self_feedback, threshold: 11}")
        with pytest.raises(ValidationError, match=r"ceil \(2\) must not be under floor \(3\)"):
            SelfFeedback(floor=3, ceil=2)
        with pytest.raises(ConfigError, match="feedback: corrective needs probabilities from refine"):
            self.spec("corrective")
