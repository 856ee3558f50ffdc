"""`history=` through a pipeline: found as the full question is, told to models, and in the trace."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fovea.pipelines.conversation.by_model import Refused, held_to
from fovea.pipelines.conversation.rewriting import standing_alone
from fovea.pipelines.conversation.settings import Conversation
from fovea.pipelines.conversation.turns import last, turns
from fovea.pipelines.generators.extractive import ExtractiveGenerator
from fovea.pipelines.pipeline import Pipeline
from fovea.rag.errors import ConfigErrors, QueryError
from fovea.rag.tokens import WordTokenizer
from fovea.rag.trace import Trace
from fovea.rag.types import Answer, Query, Turn

FIRST = "How long is the Danube?"
HISTORY = [{"role": "user", "content": FIRST}, {"role": "assistant", "content": "2,850 km."}]


def texts(answer: Answer) -> dict:
    """All of an answer but its seconds and the turns."""
    plain = answer.to_dict()
    for stage in plain["trace"]["stages"]:
        stage["seconds"] = 0
    return plain


def notes(trace: Trace | None) -> dict:
    assert trace is not None
    return next((stage.notes for stage in trace.stages if stage.name == "rewrite"), {})


@pytest.fixture
def pipeline(make, docs):
    with make() as made:
        made.ingest([docs])
        yield made


def test_every_way_of_asking_takes_it(pipeline):
    full = [h.chunk.id for h in pipeline.retrieve("How many countries does Danube flow through?", 2)]
    asked = "How many countries does it flow through?"
    trace = Trace()
    assert [h.chunk.id for h in pipeline.retrieve(asked, 2, history=HISTORY, trace=trace)] == full
    assert notes(trace) == {"question": asked, "rewritten": "How many countries does Danube flow through?",
                            "standalone": False, "by": "rule"}  # fmt: skip
    answer = pipeline.ask(asked, history=HISTORY)
    assert "ten countries" in answer.text
    assert notes(answer.trace) == notes(trace)
    *_, streamed = pipeline.stream(asked, history=HISTORY)

    async def others() -> tuple[Answer, Answer, list]:
        *_, last_piece = [piece async for piece in pipeline.astream(asked, history=HISTORY)]
        return (
            await pipeline.aask(asked, history=HISTORY),
            last_piece,
            await pipeline.aretrieve(asked, 2, history=HISTORY),
        )

    aasked, astreamed, found = asyncio.run(others())
    assert texts(streamed) == texts(astreamed) == texts(aasked) == texts(answer)
    assert [hit.chunk.id for hit in found] == full


@pytest.mark.parametrize("empty", [None, [], (), [{"role": "user", "content": " \n"}]])
def test_an_empty_history_is_none_at_all(pipeline, empty):
    asked = "How many countries does it flow through?"
    plain, given_none = pipeline.ask(asked), pipeline.ask(asked, history=empty)
    assert texts(given_none) == texts(plain)
    assert not notes(plain.trace)


def test_a_question_that_stands_alone_is_left_and_said_to(pipeline):
    asked = "Who walked on the Moon  in 1969?"
    answer = pipeline.ask(asked, history=HISTORY)
    assert notes(answer.trace)["rewritten"] == asked
    assert notes(answer.trace)["standalone"] is True
    assert answer.text == pipeline.ask(asked).text


def test_turns_and_mappings_mean_the_same(pipeline):
    given_turns = [Turn(**one) for one in HISTORY]
    assert texts(pipeline.ask("And the Nile?", history=given_turns)) == texts(
        pipeline.ask("And the Nile?", history=HISTORY)
    )
    said = Query("And the Nile?", history=tuple(given_turns))
    assert texts(pipeline.ask(said)) == texts(pipeline.ask("And the Nile?", history=HISTORY))


def test_off_and_no_turns_rewrite_nothing(make, docs):
    for settings in ({"rewrite": "off"}, {"turns": 0}):
        with make(conversation=settings) as pipeline:
            pipeline.ingest([docs])
            assert notes(pipeline.ask("And the Nile?", history=HISTORY).trace)["rewritten"] == "And the Nile?"


@pytest.mark.parametrize(
    ("history", "said"),
    [
        ("Hello", "history is a list of turns, got str"),
        (HISTORY[0], "history is a list of turns, got dict"),
        (5, "history is a list of turns, got int"),
        ([*HISTORY, {"role": "user"}], r"history\[2\] is no turn: it needs role and content"),
        ([{"role": "system", "content": "Obey."}], "unknown role 'system'"),
        ([{"role": "asistant", "content": "Hi."}], "asistant"),
        (["Hello"], r"history\[0\] is no turn, but str"),
        ([{"role": "user", "content": 3}], "the content is no text, but int"),
    ],
)
def test_what_is_no_history_is_refused(pipeline, history, said):
    with pytest.raises(QueryError, match=said) as error:
        pipeline.ask("And the Nile?", history=history)
    assert "fix:" in str(error.value) or "allowed:" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"rewrite": "models"}, "did you mean 'model'"),
        ({"turns": -1}, "greater than or equal to 0"),
        ({"turn": 3}, "unknown setting 'turn'"),
        ({"rewrite": "model"}, "extractive has none"),
    ],
)
def test_settings_are_checked(make, settings, said):
    with pytest.raises(ConfigErrors, match=said):
        make(conversation=settings)


def test_settings_are_in_the_schema_and_come_back(make):
    from fovea.pipelines.spec.schema import pipeline_schema

    schema = pipeline_schema()
    assert set(schema["$defs"]["Conversation"]["properties"]) == {"rewrite", "turns", "max_tokens"}
    plain = make(conversation={"turns": 2}).spec.settings()
    assert plain["conversation"] == {"rewrite": "auto", "turns": 2, "max_tokens": 1000}
    assert Pipeline(**plain).spec.conversation.turns == 2


# What a model is told, and what it makes of the question


class Model(ExtractiveGenerator):
    """A model that replies by a script; it answers as the extractive reader does, and remembers what it was given."""

    replies = True
    script: list[str]
    told: list = []

    def reply(self, messages, limit) -> str:
        self.told.append(messages)
        return self.script[0]

    def stream(self, query, hits, corpus):
        self.told.append(query)
        return super().stream(query, hits, corpus)

    def looks(self, query, answer, corpus):
        self.told.append(query)
        return []


def asked_of(reply: str, question: str, settings: Conversation | None = None) -> tuple[Query, Trace, Model]:
    model, trace = Model(script=[reply], told=[]), Trace()
    query = Query(question, history=turns(HISTORY))
    return standing_alone(query, settings or Conversation(rewrite="model"), model, trace), trace, model


def test_a_model_rewrites_where_there_is_one():
    query, trace, model = asked_of("Through how many countries does the Danube flow?", "How many countries?")
    assert query.text == "Through how many countries does the Danube flow?"
    assert notes(trace)["by"] == "model"
    [[(_, instruction), (_, asked)]] = model.told
    assert "understood without" in instruction
    assert json.dumps(FIRST) in asked
    assert asked.endswith("Last question: How many countries?")


def test_a_question_that_stands_alone_costs_no_reply():
    query, trace, model = asked_of("Never said.", "Who walked on the Moon in 1969?")
    assert (query.text, model.told) == ("Who walked on the Moon in 1969?", [])
    assert notes(trace)["standalone"] is True


@pytest.mark.parametrize("rewrite", ["rule", "off"])
def test_a_model_is_not_asked_where_the_settings_say_so(rewrite):
    _, _, model = asked_of("Never said.", "And the Nile?", Conversation(rewrite=rewrite))
    assert model.told == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ("", "it is empty"),
        ("<think>The Nile?</think>", "it is empty"),
        ("How long is the Nile, which Herodotus saw?", "names what nobody has named"),
        ("How long is the Nile in 1999?", "a number that nobody has given: 1999"),
        ("How long is the Nile? " * 60, "characters"),
        ("I cannot help.", "shares no word"),
    ],
)
def test_what_a_model_may_not_say_is_refused_and_the_rule_does_it(reply, why):
    query, trace, _ = asked_of(reply, "And the Nile?")
    assert query.text == "How long is the Nile?"
    assert notes(trace)["by"] == "rule"
    [warning] = trace.warnings
    assert why in warning


def test_looks_are_of_the_question_that_was_answered(make, docs):
    model = Model(script=[""], told=[])
    with make(generate=model, conversation={"rewrite": "rule"}) as pipeline:
        pipeline.ingest([docs])
        told = pipeline.spec.generate.told
        answer = pipeline.ask("And the Nile?", history=HISTORY)
        pipeline.looks("And the Nile?", answer, history=HISTORY)
    assert told[-1].text == told[-2].text == "How long is the Nile?"
    assert told[-1].history == told[-2].history


def test_auto_asks_a_model_only_what_the_rule_cannot_read():
    _, trace, model = asked_of("Never said.", "And the Nile?", Conversation())
    assert (model.told, notes(trace)["by"]) == ([], "rule")
    query, trace, model = asked_of("Wie lang ist der Nil?", "Und der Nil?", Conversation())
    assert (query.text, notes(trace)["by"], len(model.told)) == ("Wie lang ist der Nil?", "model", 1)


def test_a_frame_around_the_question_is_taken_off():
    for reply in ('Rewritten question: "How long is the Nile?"', "How long\nis the Nile?", "“How long is the Nile?”"):
        assert held_to("And the Nile?", turns(HISTORY), reply) == "How long is the Nile?"
    assert held_to("And  the Nile?", turns(HISTORY), "And the Nile?") == "And  the Nile?", "unchanged, to the byte"


@given(st.text(max_size=100), st.text(max_size=300))
def test_any_reply_is_held_to_the_question_or_refused(question, reply):
    try:
        made = held_to(question, turns(HISTORY), reply)
    except Refused as error:
        assert str(error)
    else:
        assert len(made) <= len(question) + 400


@given(st.lists(st.builds(Turn, st.sampled_from(["user", "assistant"]), st.text(max_size=60))), st.integers(0, 8),
       st.integers(0, 40))  # fmt: skip
def test_a_model_is_told_the_newest_turns_within_the_bounds(said, most, tokens):
    told = last(said, most, tokens)
    assert len(told) <= most
    assert sum(WordTokenizer().count(turn.content.removesuffix(" …")) for turn in told) <= tokens
    whole = [turn for turn in told if turn in said]
    assert list(told[-len(whole) :] if whole else []) == (said[-len(whole) :] if whole else [])


def test_a_turn_that_is_too_long_is_cut_and_said_to_be():
    query, trace, _ = asked_of("How long is the Nile?", "And the Nile?", Conversation(max_tokens=2))
    assert query.history == (Turn("assistant", "2, …"),)
    assert any("was cut" in warning for warning in trace.warnings)


def test_the_answering_model_gets_the_rewritten_question_and_the_turns(make, docs):
    model = Model(script=["How long is the Nile?"], told=[])
    with make(generate=model) as pipeline:
        pipeline.ingest([docs])
        pipeline.ask("And the Nile?", history=HISTORY)
    query = pipeline.spec.generate.told[-1]
    assert query.text == "How long is the Nile?"
    assert query.history == turns(HISTORY)
