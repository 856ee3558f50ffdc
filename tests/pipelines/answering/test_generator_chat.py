"""Chat models: LangChain objects from Python, and models by name through a provider's own client."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.pipelines.generators.chat import ChatGenerator
from fovea.rag.chat import PROVIDERS
from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.errors import ConfigError, FoveaError, MissingExtra, ModelError
from fovea.rag.generation import Generator
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.rag.testing.generators import answered, check_generator
from fovea.rag.trace import Trace
from fovea.rag.types import Query

fakes = pytest.importorskip("langchain_core.language_models.fake_chat_models", reason="langchain-core is not installed")
from langchain_core.language_models.chat_models import BaseChatModel  # noqa: E402
from langchain_core.messages import AIMessage, AIMessageChunk  # noqa: E402
from langchain_core.outputs import ChatGenerationChunk, ChatResult  # noqa: E402

from fovea.pipelines.generators.langchain import LangChainGenerator  # noqa: E402

CORPUS = MemoryCorpus.of({"rivers": "The Danube flows through ten countries. The Nile is longer."}, HashEncoder())
HITS = CORPUS.nearest(CORPUS.embed("Danube"), 3)
ANSWER = "The Danube flows through ten countries [1]. It is full of gold [1]."
QUERY = Query("How many countries does the Danube flow through?")


class Scripted(BaseChatModel):
    """A chat model that streams these chunks, and then fails if it is given an error."""

    chunks: list[AIMessageChunk]
    error: Exception | None = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _stream(self, messages, stop=None, run_manager=None, **kwargs):
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk)
        if self.error:
            raise self.error

    def _generate(self, messages, stop=None, run_manager=None, **kwargs) -> ChatResult:
        raise NotImplementedError


def run(model: BaseChatModel, hits=HITS) -> tuple[list[str], Trace]:
    trace = Trace()
    with trace.stage("generate"):
        return list(LangChainGenerator(model=model).stream(QUERY, hits, CORPUS)), trace


def test_laws():
    check_generator(LangChainGenerator(model=fakes.FakeListChatModel(responses=[ANSWER])))
    check_generator(LangChainGenerator(model=fakes.ParrotFakeChatModel()))


def test_it_streams_word_by_word_and_cites():
    model = fakes.GenericFakeChatModel(messages=iter([AIMessage(ANSWER), AIMessage(ANSWER)]))
    pieces, _ = run(model)
    assert len(pieces) > 10
    assert "".join(pieces) == ANSWER
    answer = answered(LangChainGenerator(model=model), QUERY, HITS, CORPUS)
    assert answer.text == "The Danube flows through ten countries. It is full of gold."
    assert [s.supported for s in answer.sentences] == [True, False]


def test_a_chat_model_is_a_generator_in_a_pipeline(make, docs):
    with make(generate=fakes.FakeListChatModel(responses=["The Danube flows through ten countries [1]."])) as pipeline:
        pipeline.ingest([docs])
        answer = pipeline.ask("How many countries does the Danube flow through?", k=5)
        assert answer.text == "The Danube flows through ten countries."
        assert answer.citations[0].quote == answer.text
    with pytest.raises(FoveaError):
        make(generate=object())


def test_async_uses_the_models_own_way():
    seen = []

    class Async(Scripted):
        async def _astream(self, messages, stop=None, run_manager=None, **kwargs):
            seen.append(threading.current_thread() is threading.main_thread())
            for chunk in self.chunks:
                yield ChatGenerationChunk(message=chunk)

    async def collect() -> list[str]:
        generator = LangChainGenerator(model=Async(chunks=[AIMessageChunk("a "), AIMessageChunk("b")]))
        return [piece async for piece in generator.astream(QUERY, HITS, CORPUS)]

    assert asyncio.run(collect()) == ["a ", "b"]
    assert seen == [True]


def test_tokens_are_counted_in_the_trace():
    def usage(i: int, o: int) -> dict[str, int]:
        return {"input_tokens": i, "output_tokens": o, "total_tokens": i + o}

    chunks = [AIMessageChunk("a ", usage_metadata=usage(7, 1)), AIMessageChunk("b", usage_metadata=usage(0, 2))]
    _, trace = run(Scripted(chunks=chunks))
    assert trace.stages[0].counts == {"input_tokens": 7, "output_tokens": 3}


def test_without_passages_the_model_is_not_asked():
    pieces, trace = run(Scripted(chunks=[], error=RuntimeError("asked")), hits=())
    assert pieces == [NO_ANSWER]
    assert "no passages" in trace.stages[0].notes["no_answer"]


@pytest.mark.parametrize(
    "chunks", [[], [AIMessageChunk("")], [AIMessageChunk("", response_metadata={"finish_reason": "length"})]]
)
def test_an_empty_answer_is_an_error(chunks):
    with pytest.raises(ModelError):
        run(Scripted(chunks=[*chunks, AIMessageChunk("", chunk_position="last")]))


def test_a_cut_answer_is_a_warning_and_a_filtered_one_an_error():
    def stopped(why: str) -> Scripted:
        return Scripted(
            chunks=[AIMessageChunk("The Danube"), AIMessageChunk("", response_metadata={"finish_reason": why})]
        )

    _, trace = run(stopped("length"))
    assert any("cut off" in warning for warning in trace.warnings)
    with pytest.raises(ModelError, match="filter"):
        run(stopped("content_filter"))
    assert not run(stopped("stop"))[1].warnings


class AuthenticationError(Exception):
    status_code = 401


class APIConnectionError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationError("bad key"), "refused the credentials"),
        (APIConnectionError("no route"), "cannot be reached"),
        (TimeoutError(), "did not answer in time"),
        (KeyError("choices"), "failed"),
    ],
)
def test_a_failure_in_mid_stream_is_never_an_answer(error, words):
    model = Scripted(chunks=[AIMessageChunk("The Danube")], error=error)
    pieces = LangChainGenerator(model=model).stream(QUERY, HITS, CORPUS)
    assert next(pieces) == "The Danube"
    with pytest.raises(ModelError, match=words) as raised:
        next(pieces)
    assert "after 10 characters" in str(raised.value)
    assert raised.value.fix


def test_settings_name_the_model_and_hold_no_key():
    class Keyed(Scripted):
        @property
        def _identifying_params(self):
            return {"model_name": "m", "api_key": "sk-123", "max_tokens": 5}

    settings = LangChainGenerator(model=Keyed(chunks=[])).settings()
    assert settings["parameters"] == {"model_name": "m", "max_tokens": "5"}
    assert "sk-123" not in repr(settings)


# By name


@pytest.mark.parametrize(
    "settings", [{"model": "gpt-4o-mini"}, {"model": "openai:x", "options": {"api_key": "sk-1"}}, {}]
)
def test_bad_settings_are_refused(settings):
    with pytest.raises(ValidationError) as raised:
        Generator.model_validate({"use": "chat", **settings})
    assert "sk-1" not in raised.value.errors()[0]["msg"]


def test_making_it_loads_nothing():
    assert ChatGenerator(model="nobody:knows").temperature == 0


def test_an_unknown_provider_and_a_missing_package_are_told_apart():
    pytest.importorskip("langchain", reason="langchain is not installed")
    with pytest.raises(ModelError, match="unknown provider"):
        list(ChatGenerator(model="nobody:knows").stream(QUERY, HITS, CORPUS))
    with pytest.raises(MissingExtra, match="langchain-fireworks") as raised:
        list(ChatGenerator(model="fireworks:x").stream(QUERY, HITS, CORPUS))
    assert raised.value.fix == "pip install langchain-fireworks"
    assert not isinstance(raised.value, ConfigError)


def test_the_package_of_each_provider_is_the_one_that_langchain_would_load(monkeypatch):
    models = pytest.importorskip("langchain.chat_models.base", reason="langchain is not installed")
    known = getattr(models, "_BUILTIN_PROVIDERS", None)
    if known is None:
        pytest.skip("this langchain keeps its providers elsewhere")
    monkeypatch.setattr("fovea.rag.chat.has", lambda module: False)
    for provider in known.keys() & set(PROVIDERS):
        package = known[provider][0].split(".")[0].replace("_", "-")
        with pytest.raises(MissingExtra, match=f"needs the package '{package}'") as raised:
            ChatGenerator(model=f"{provider}:x").client  # noqa: B018
        assert raised.value.fix == f"pip install {package}"


class Server(BaseHTTPRequestHandler):
    """Speaks the chat completions protocol: streams ANSWER, or fails with the status that the model's name asks for."""

    asked: list[dict] = []

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        if body["model"].isdigit():
            return self.reply(int(body["model"]), "application/json", json.dumps({"error": {"message": "told so"}}))
        words = ANSWER.replace(" ", " \0").split("\0")
        events = [{"choices": [{"index": 0, "delta": {"role": "assistant", "content": w}}]} for w in words]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        events.append({"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 9, "total_tokens": 99}})
        base = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}
        text = "".join(f"data: {json.dumps({**base, **e})}\n\n" for e in events) + "data: [DONE]\n\n"
        return self.reply(200, "text/event-stream", text)

    def reply(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def url():
    pytest.importorskip("langchain", reason="langchain is not installed")
    pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.fixture
def key(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")


def chat(model: str, url: str) -> ChatGenerator:
    return ChatGenerator(
        model=f"openai:{model}", base_url=url, max_retries=0, max_tokens=50, options={"stream_usage": True}
    )


def test_a_server_is_asked_and_streams(url, key):
    trace = Trace()
    with trace.stage("generate"):
        pieces = list(chat("tiny", url).stream(QUERY, HITS, CORPUS))
    assert "".join(pieces) == ANSWER
    assert len(pieces) > 5
    assert trace.stages[0].counts == {"input_tokens": 90, "output_tokens": 9}
    body = Server.asked[-1]
    assert (body["model"], body["temperature"]) == ("tiny", 0)
    assert 50 in body.values()
    assert [m["role"] for m in body["messages"]] == ["system", "user"]
    assert "The Danube flows through ten countries." in body["messages"][1]["content"]


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "credentials"), (404, "not known"), (429, "rate limit"), (500, "provider"), (400, "did not accept")],
)
def test_what_a_provider_refuses_is_said_with_its_words(url, key, status, words):
    with pytest.raises(ModelError, match=words) as raised:
        list(chat(str(status), url).stream(QUERY, HITS, CORPUS))
    assert "told so" in str(raised.value)


def test_a_server_that_is_not_there(key):
    pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
    with pytest.raises(ModelError, match="cannot be reached"):
        list(chat("tiny", "http://127.0.0.1:9/v1").stream(QUERY, HITS, CORPUS))


def test_a_missing_key_is_named(url, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="has no key"):
        list(chat("tiny", url).stream(QUERY, HITS, CORPUS))


def test_white_space_alone_is_no_answer():
    blank = LangChainGenerator(model=fakes.FakeListChatModel(responses=["<think>Hm.</think> \n\n"]))
    corpus = MemoryCorpus.of({"tea": "Green tea."}, HashEncoder())
    with pytest.raises(ModelError, match="empty answer"):
        list(blank.stream(Query("?"), corpus.nearest(corpus.embed("tea"), 1), corpus))


def test_a_chat_model_rewrites_and_is_told_what_was_said(make, docs):
    """The same object is asked twice: for the question in full, then for the answer."""
    model = fakes.FakeListChatModel(responses=["How long is the Nile?", "It is longer [1]."])
    history = [{"role": "user", "content": "How long is the Danube?"}, {"role": "assistant", "content": "2,850 km."}]
    with make(generate=model, conversation={"rewrite": "model"}) as pipeline:
        pipeline.ingest([docs])
        answer = pipeline.ask("And the Nile?", history=history)
    [stage] = [stage for stage in answer.trace.stages if stage.name == "rewrite"]
    assert stage.notes == {"question": "And the Nile?", "rewritten": "How long is the Nile?", "standalone": False,
                           "by": "model"}  # fmt: skip
    assert answer.text == "It is longer."
