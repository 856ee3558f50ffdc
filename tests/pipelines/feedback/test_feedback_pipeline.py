"""Self-feedback as a stage: in a pipeline, with models that write and grade, and its settings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from pydantic import Field, ValidationError

from fovea.pipelines.answering.explain import fates
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.feedback.policy import FeedbackPolicy
from fovea.pipelines.feedback.self_feedback import SelfFeedback
from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.pipelines.judges.model import INSTRUCTION, ModelJudge
from fovea.pipelines.judges.support import SupportJudge
from fovea.pipelines.spec import yaml_source
from fovea.pipelines.spec.check import check
from fovea.rag.corpus import Corpus
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.feedback import Grade, Judge
from fovea.rag.generation import Generator
from fovea.rag.retrieval import Refiner, Retriever
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.types import Answer, Hit, Query
from fovea.retrievers.gradient import GradientSelection
from fovea.retrievers.mass import MassSelection

TEXTS = {"tea": "Green tea is brewed at 80 degrees.", "moon": "The Moon has no air.", "nile": "The Nile is long."}
CORPUS = MemoryCorpus.of(TEXTS, HashEncoder())
HITS = [Hit(chunk, 0.5) for chunk in CORPUS.chunks()]


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
        answer = made.ask("Which?", where="suffix == '.none'")
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
    from fovea.pipelines.generators.langchain import LangChainGenerator

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
