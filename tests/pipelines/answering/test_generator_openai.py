"""The generator `openai` against a server that speaks HTTP: what it sends, what it takes, and what goes wrong."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from contextlib import aclosing

import pytest
from pydantic import ValidationError

pytest.importorskip("openai", reason="openai is not installed")
pytest.importorskip("uvicorn", reason="uvicorn is not installed")

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.generators.openai import OpenAIGenerator
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, ModelError
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import answered, check_generator
from fovea.rag.trace import Trace
from fovea.rag.types import Query, Turn
from tests.chat_server import ChatServer, Reply, Running

CORPUS = MemoryCorpus.of({"rivers": "The Danube flows through ten countries. The Nile is longer."}, HashEncoder())
HITS = CORPUS.nearest(CORPUS.embed("Danube"), 3)
QUERY = Query("How many countries does the Danube flow through?")
PIECES = ["The Danube ", "flows through ", "ten countries [1]."]


def asked(server, query=QUERY, **settings) -> tuple[list[str], Trace]:
    trace = Trace()
    with trace.stage("generate"):
        return list(made(server, **settings).stream(query, HITS, CORPUS)), trace


def made(server, **settings) -> OpenAIGenerator:
    return OpenAIGenerator(**{"base_url": server.url, "model": "tiny", "max_retries": 0, **settings})


def gathered(generator: OpenAIGenerator) -> list[str]:
    async def collect() -> list[str]:
        return [piece async for piece in generator.astream(QUERY, HITS, CORPUS)]

    return asyncio.run(collect())


@pytest.fixture(scope="module")
def plain():
    with ChatServer([PIECES]) as server:
        yield server


def test_laws(plain):
    check_generator(made(plain))


def test_it_streams_and_cites_and_counts(plain):
    pieces, trace = asked(plain)
    assert pieces == PIECES
    [stage] = trace.stages
    assert stage.counts == {"input_tokens": 7, "output_tokens": 3}
    assert not stage.warnings
    answer = answered(made(plain), QUERY, HITS, CORPUS)
    assert answer.text == "The Danube flows through ten countries."
    assert answer.sentences[0].supported


def test_what_is_sent_is_what_is_set_and_nothing_of_the_environment(plain, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "sk-of-another")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9")
    asked(plain)
    sent, headers = plain.heard[-1], plain.headers[-1]
    assert "sk-of-another" not in str(headers)
    assert set(sent) == {"model", "messages", "stream", "stream_options", "temperature"}
    asked(plain, temperature=None, max_tokens=9, seed=3, stop=["END"], extra_body={"top_k": 20})
    sent = plain.heard[-1]
    assert (sent["max_tokens"], sent["seed"], sent["stop"], sent["top_k"]) == (9, 3, ["END"], 20)
    assert "temperature" not in sent
    assert "tools" not in sent
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]


def test_the_key_is_the_variables(plain, monkeypatch):
    monkeypatch.setenv("MINE", "sk-mine")
    asked(plain, api_key_env="MINE")
    assert plain.headers[-1]["authorization"] == "Bearer sk-mine"
    monkeypatch.delenv("MINE")
    with pytest.raises(ModelError, match="MINE is not set"):
        asked(plain, api_key_env="MINE")
    assert "sk-mine" not in str(made(plain, api_key_env="MINE").settings())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"extra_body": {"api_key": "sk-1"}}, "secret"),
        ({"extra_body": {"tools": []}}, "not for extra_body"),
        ({"api_key_env": "sk-proj-1"}, "api_key_env"),
        ({"base_url": "localhost:8000"}, "base_url"),
        ({"base_url": "https://ann:hunter2@models.example/v1"}, "do not stand in base_url"),
        ({"model": ""}, "model"),
    ],
)
def test_settings_that_cannot_be_meant(settings, said):
    with pytest.raises((ValidationError, ConfigError), match=said):
        OpenAIGenerator(**{"base_url": "http://127.0.0.1/v1", "model": "m", **settings})


def test_history_stands_behind_the_passages_and_the_instruction_stays_first(plain):
    said = (Turn("user", 'Rivers?\nQuestion: "x"'), Turn("assistant", "Which?"))
    asked(plain, Query(QUERY.text, history=said))
    with_history = plain.heard[-1]["messages"]
    asked(plain)
    without = plain.heard[-1]["messages"]
    assert with_history[0] == without[0]
    text, bare = with_history[1]["content"], without[1]["content"]
    assert text.startswith(bare.split("\n\nQuestion: ")[0])
    assert text.endswith(f"\n\nQuestion: {QUERY.text}")
    assert '\nuser: "Rivers?\\nQuestion: \\"x\\""\nassistant: "Which?"\n' in text


def test_without_passages_nobody_is_asked(plain):
    before = len(plain.heard)
    assert list(made(plain).stream(QUERY, (), CORPUS)) == [NO_ANSWER]
    assert len(plain.heard) == before


def test_reply_asks_anything(plain):
    assert made(plain, max_tokens=500).reply([("user", "Say it.")], 40) == "".join(PIECES)
    assert plain.heard[-1]["max_tokens"] == 40
    assert plain.heard[-1]["messages"] == [{"role": "user", "content": "Say it."}]


def test_async_is_the_same_from_one_loop_and_another(plain):
    generator = made(plain)
    assert gathered(generator) == gathered(generator) == PIECES


@pytest.mark.parametrize(
    "pieces",
    [
        [{"reasoning_content": "Hm, "}, {"reasoning_content": "ten."}, *PIECES],
        [{"reasoning": "Hm, ten."}, *PIECES],
        ["<thi", "nk>Hm, ", "ten.</think>", *PIECES],
    ],
)
def test_reasoning_is_kept_apart(pieces):
    with ChatServer([pieces]) as server:
        said, trace = asked(server)
    assert "".join(said) == "".join(PIECES)
    assert trace.stages[0].notes["reasoning"] == "Hm, ten."


@pytest.mark.parametrize(
    ("reply", "warning"),
    [
        (Reply(PIECES, finish="length"), "reached its limit of tokens"),
        (Reply(PIECES, finish=None), "without saying that the answer is whole"),
        (Reply(PIECES, finish="stop", usage=False), ""),
    ],
)
def test_an_answer_that_is_cut_is_a_warning(reply, warning):
    with ChatServer([reply]) as server:
        said, trace = asked(server)
    assert said == PIECES
    assert len(trace.warnings) == bool(warning)
    assert warning in " ".join(trace.warnings)


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply([PIECES[0]], finish="content_filter"), "filter held the answer back"),
        (Reply([]), "empty answer"),
        (Reply([{"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": ""}}]}], finish="tool_calls"),
         "empty answer .stopped: tool_calls"),
        (Reply([PIECES[0], 0.05], drop=True), "dropped the connection after 10 characters"),
        (Reply([PIECES[0], b"data: {no json\n\n"]), "no JSON after 10 characters"),
        (Reply([b'data: {"error": {"message": "CUDA went away"}}\n\n']), "CUDA went away"),
        (Reply(body=b"<html>A page</html>"), "no stream of chat completions"),
        (Reply(status=500), "failed at its provider"),
        (Reply(status=401, body={"error": {"message": "who?"}}), "refused the credentials"),
        (Reply(status=400, body={"error": {"message": "the maximum context length is 8 tokens"}}), "too long"),
        (Reply(status=400, body={"error": {"message": "stop must be shorter"}}), "did not accept the request"),
        (Reply(status=404, body={"error": {"message": "no such path"}}), "no such model or route"),
    ],
)  # fmt: skip
def test_what_fails_is_said_by_either_way(reply, said):
    with ChatServer([reply]) as server:
        with pytest.raises(ModelError, match=said) as error:
            asked(server)
        assert error.value.fix
        with pytest.raises(ModelError, match=said):
            gathered(made(server))


def test_an_unknown_model_is_told_the_nearest():
    wrong = Reply(status=404, body={"error": {"message": "The model `tinny` does not exist."}})
    with ChatServer([wrong]) as server, pytest.raises(ModelError) as error:
        asked(server, model="tinny")
    assert "did you mean 'tiny'?" in str(error.value)
    assert "allowed: tiny, tiny-large" in str(error.value)


def test_nothing_that_listens_is_said_with_what_starts_it():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    generator = OpenAIGenerator(base_url=f"http://127.0.0.1:{port}/v1", model="qwen3", max_retries=0)
    with pytest.raises(ModelError, match="nothing answers at") as error:
        list(generator.stream(QUERY, HITS, CORPUS))
    assert "vllm serve qwen3" in str(error.value)
    [lack] = [r for r in generator.requirements() if r.what.startswith("the server")]
    assert lack.lacking


@pytest.mark.parametrize("failing", [429, 500, 503])
def test_what_may_pass_is_tried_again(failing):
    replies = [Reply(status=failing, headers={"retry-after": "0.2"}), PIECES]
    with ChatServer(replies) as server:
        assert asked(server, max_retries=1)[0] == PIECES
        assert server.times[1] - server.times[0] >= 0.19, "the server said when to come again"


def test_once_text_has_come_nothing_is_asked_again():
    with ChatServer([Reply([PIECES[0], 0.05], drop=True), PIECES]) as server:
        with pytest.raises(ModelError):
            asked(server, max_retries=2)
        assert len(server.heard) == 1


@pytest.mark.parametrize("limit", [{"read_timeout": 0.2}, {"timeout": 0.2}])
def test_a_slow_server_is_not_waited_for(limit):
    for way in (lambda s: asked(s, **limit), lambda s: gathered(made(s, **limit))):
        with ChatServer([Reply(["a ", 3.0, "b"])]) as server:
            began = time.monotonic()
            with pytest.raises(ModelError, match="did not answer in time"):
                way(server)
            assert time.monotonic() - began < 2.5


def test_a_server_that_drips_for_ever_is_left_in_the_end():
    with ChatServer([Reply(["a ", 0.05] * 100)]) as server, pytest.raises(ModelError, match="in time after"):
        asked(server, timeout=0.4)


def test_a_stream_that_is_left_closes_the_connection():
    with ChatServer([Reply(["a ", 0.02] * 500)]) as server:
        stream = made(server).stream(QUERY, HITS, CORPUS)
        next(stream)
        stream.close()
        assert server.gone.wait(5)

        async def leave() -> None:
            async with aclosing(made(server).astream(QUERY, HITS, CORPUS)) as pieces:
                await anext(pieces)

        server.gone.clear()
        asyncio.run(leave())
        assert server.gone.wait(5)


def test_another_pipeline_that_is_served_is_a_model_too(tmp_path):
    """`fovea serve` speaks the protocol: an answer of one pipeline, asked by the generator of another."""
    from fovea.pipelines.server.app import create_app
    from fovea.pipelines.server.served import Served
    from tests.serving import stored

    with stored(tmp_path) as pipeline, Running(create_app(Served({"qa": pipeline}, None))) as server:
        generator = made(server, model="qa")
        assert "80 euros" in generator.reply([("user", "How much is the court fee?")], 100)
        said = [("user", "How much is the court fee?"), ("assistant", "80 euros."), ("user", "And the Moon lamp?")]
        assert "40 euros" in generator.reply(said, 100), "the server takes what was said before, and rewrites"
        with pytest.raises(ModelError, match="has no model 'qq'") as error:
            made(server, model="qq").reply([("user", "How much?")], 100)
        assert error.value.allowed == ("qa",)


KEY = "sk-0123456789-of-the-tests"
REPEATS = {"error": {"message": f"Incorrect key provided: {KEY}", "code": "x"}}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418, 422, 429, 500, 503])
def test_a_key_that_the_server_repeats_is_in_no_error(monkeypatch, status):
    monkeypatch.setenv("TESTS_WORD", KEY)
    with ChatServer([Reply(status=status, body=REPEATS)]) as server, pytest.raises(ModelError) as caught:
        asked(server, api_key_env="TESTS_WORD")
    assert KEY not in str(caught.value)
    assert "[secret]" in str(caught.value)


def test_nor_is_one_in_the_middle_of_a_stream(monkeypatch):
    monkeypatch.setenv("TESTS_WORD", KEY)
    error = b'data: {"error": {"message": "bad: ' + KEY.encode() + b'"}}\n\n'
    with ChatServer([[*PIECES, error]]) as server, pytest.raises(ModelError) as caught:
        asked(server, api_key_env="TESTS_WORD")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", ["sk-0123\n456789", "sk-schlüssel-01", "sk-0123\x00456"])
def test_a_key_that_cannot_be_sent_is_said_without_it(plain, monkeypatch, key):
    monkeypatch.setattr("os.environ", {**os.environ, "TESTS_WORD": key})
    with pytest.raises(ModelError, match="TESTS_WORD has a character that no header carries") as caught:
        asked(plain, api_key_env="TESTS_WORD")
    assert "sk-" not in str(caught.value)


ODD = [
    {"choices": "x"}, {"choices": [], "usage": "x"}, {"choices": [None]}, {"choices": [{"index": 0, "delta": "x"}]},
    {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": "x"}}, [1], {}, {"choices": {"a": 1}},
    {"choices": [{"index": 0, "delta": {"content": ["x"], "reasoning": {"a": 1}}, "finish_reason": 3}]},
    {"choices": [{"index": 1, "delta": {"content": "another answer"}}]},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_what_is_none_of_the_protocol_counts_for_nothing(odd):
    event = b"data: " + json.dumps(odd).encode() + b"\n\n"
    with ChatServer([[event, *PIECES, event]]) as server:
        pieces, trace = asked(server)
        assert pieces == PIECES
        assert gathered(made(server)) == PIECES
    assert trace.stages[0].counts["input_tokens"] == 7
