"""A model behind any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, LM Studio, hosted ones.

generate: {use: openai, base_url: "http://localhost:8000/v1", model: qwen3}
generate: {use: openai, base_url: "https://api.openai.com/v1", model: gpt-4o-mini, api_key_env: OPENAI_API_KEY}

The official client asks, over HTTP and nothing else: no key, organisation or address is taken from the environment that
the settings do not name.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from fovea.pipelines.answering.served_errors import bad_key, explained, no_key
from fovea.pipelines.answering.writing import Messages, ModelWriter, Said
from fovea.rag import trace
from fovea.rag.component import Component, SpeedOnly
from fovea.rag.errors import FoveaError, ModelError, require
from fovea.rag.requirements import Requirement, server
from fovea.rag.secret_words import is_secret
from fovea.rag.settings import fingerprint

KEYLESS = "none"
"""What is sent as the key where there is none: local servers look at no key, and the client wants a word."""
Clients = WeakKeyDictionary[asyncio.AbstractEventLoop, Any]


class OpenAIGenerator(ModelWriter, name="openai"):
    """Asks a server that speaks OpenAI's protocol, streaming, without tools. Reasoning is kept apart, whether the
    server sends it beside the text (`reasoning_content`, `reasoning`) or in it (`<think>`).

    A request that meets no connection, 408, 409, 429 or 5xx is sent again after a pause (.5 s, doubled each time, up to
    8 s; or what Retry-After says, up to 2 minutes); once text has come, never. Raises ModelError with what mends it.
    """

    packages: ClassVar[Mapping[str, str]] = {"openai": "openai"}

    base_url: str = Field(pattern=r"^https?://[^\s/]+")
    """Where the server listens, most often with `/v1` at the end."""

    model: str = Field(min_length=1)
    """The model as the server calls it (`GET /v1/models` lists them)."""

    api_key_env: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*$")
    """The environment variable that holds the key; null for servers that ask for none. Keys are never written here."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest words; null for models that accept none."""

    max_tokens: PositiveInt | None = None
    """The most tokens of an answer, reasoning included; null leaves it to the server."""

    seed: int | None = None
    """For servers that draw the same with the same seed."""

    stop: list[str] = Field(default_factory=list, max_length=4)
    """Texts before which the answer ends."""

    extra_body: dict[str, Any] = Field(default_factory=dict)
    """Further fields of the request, as the server knows them: `{top_k: 20}`."""

    connect_timeout: SpeedOnly[PositiveFloat] = 5.0
    """Seconds to wait for a connection."""

    read_timeout: SpeedOnly[PositiveFloat] = 120.0
    """Seconds without a piece; the first comes once the prompt has been read."""

    timeout: SpeedOnly[PositiveFloat] = 600.0
    """Seconds for the whole answer."""

    max_retries: SpeedOnly[NonNegativeInt] = 2
    """How often a request is sent again."""

    @field_validator("base_url")
    @classmethod
    def _no_password(cls, url: str) -> str:
        if "@" in urlsplit(url).netloc:
            raise ValueError("names and passwords do not stand in base_url: name the variable of a key in api_key_env")
        return url

    @field_validator("extra_body")
    @classmethod
    def _no_secrets_no_tools(cls, body: dict[str, Any]) -> dict[str, Any]:
        for key in body:
            if is_secret(key):
                raise ValueError(f"{key!r} looks like a secret: name its environment variable in api_key_env")
            if key in ("tools", "tool_choice", "functions", "messages", "model", "stream"):
                raise ValueError(f"{key!r} is not for extra_body: the pipeline decides it")
        return body

    @property
    def called(self) -> str:
        """The model."""
        return self.model

    @property
    def fingerprint(self) -> str:
        """What decides the answers; what the server calls `model` is taken at its word."""
        return fingerprint({"openai": self.settings(speed=False)})

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the key, and the server."""
        yield from super().requirements(encoder)
        if self.api_key_env:
            yield Requirement(f"the key in {self.api_key_env}", lambda: self._key)
        yield server(self.base_url, f"the {self.kind} {self.name!r}", "start the server, or mend base_url")

    def said(self, messages: Messages, limit: int | None = None) -> Iterator[Said]:
        """The pieces as the server sends them; closed in the middle, the connection is closed, and the server told."""
        due = _Due(self.timeout)
        with self._client.chat.completions.create(**self._request(messages, limit)) as chunks:
            for chunk in chunks:
                due.check()
                yield due.heard(chunk)
        due.end()

    async def asaid(self, messages: Messages) -> AsyncIterator[Said]:
        """Like `said`, on the event loop."""
        due, request = _Due(self.timeout), self._request(messages, None)
        async with await asyncio.wait_for(self._async_client.chat.completions.create(**request), due.left) as chunks:
            pieces = aiter(chunks)
            while (chunk := await asyncio.wait_for(anext(pieces, None), due.left)) is not None:
                yield due.heard(chunk)
        due.end()

    def explained(self, error: Exception, length: int) -> FoveaError:
        """What the client raised, in words that say what mends it; asks the server for its models where that helps."""
        return explained(error, self.model, self.base_url, self.api_key_env, length, self._models)

    def _models(self) -> list[str]:
        """What the server says it has."""
        found: list[str] = []
        with suppress(Exception):  # an error is being explained: another would hide it
            client = self._client.with_options(max_retries=0, timeout=self.connect_timeout)
            found = [str(one.id) for one in client.models.list()]
        return found

    def _request(self, messages: Messages, limit: int | None) -> dict[str, Any]:
        longest = limit if self.max_tokens is None else min(self.max_tokens, limit or self.max_tokens)
        hosted = "//api.openai.com" in self.base_url  # refuses the old name for newer models
        given = {
            "temperature": self.temperature,
            "max_completion_tokens" if hosted else "max_tokens": longest,
            "seed": self.seed,
            "stop": self.stop or None,
            "extra_body": self.extra_body or None,
        }
        return {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            **{key: value for key, value in given.items() if value is not None},
        }

    @property
    def _key(self) -> str:
        if self.api_key_env is None:
            return KEYLESS
        if not (key := os.environ.get(self.api_key_env, "").strip()):
            raise no_key(self.model, self.api_key_env)
        if not (key.isascii() and key.isprintable()):
            raise bad_key(self.model, self.api_key_env)
        return key

    def _settings(self) -> dict[str, Any]:
        """Of a client; what it would else take from the environment is said to be nothing."""
        openai = require("openai", extra="openai", needed_by=f"the {self.kind} {self.name!r}")
        wait = openai.Timeout(min(self.read_timeout, self.timeout), connect=self.connect_timeout)
        nothing = {"OpenAI-Organization": openai.omit, "OpenAI-Project": openai.omit}
        return {
            "base_url": self.base_url,
            "api_key": self._key,
            "timeout": wait,
            "max_retries": self.max_retries,
            "default_headers": nothing,
        }

    @cached_property
    def _client(self) -> Any:
        return require("openai", extra="openai", needed_by=f"the {self.kind} {self.name!r}").OpenAI(**self._settings())

    @cached_property
    def _clients(self) -> Clients:
        return WeakKeyDictionary()

    @property
    def _async_client(self) -> Any:
        """One for each event loop: its connections belong to the loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            openai = require("openai", extra="openai", needed_by=f"the {self.kind} {self.name!r}")
            self._clients[loop] = openai.AsyncOpenAI(**self._settings())
        return self._clients[loop]


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""


def _count(usage: object, kind: str) -> int:
    found = getattr(usage, kind, None)
    return found if isinstance(found, int) else 0


class _Due:
    """The time that an answer may take, and whether the server has said that it is whole."""

    def __init__(self, seconds: float) -> None:
        self.end_at, self.seconds = time.monotonic() + seconds, seconds
        self.chunks, self.stopped = 0, False

    @property
    def left(self) -> float:
        return max(0.0, self.end_at - time.monotonic())

    def check(self) -> None:
        if not self.left:
            raise TimeoutError(f"the answer was not whole after {self.seconds:g} s (timeout)")

    def heard(self, chunk: Any) -> Said:
        """A chunk as a piece. Servers of this protocol send many things: what is none of it counts for nothing."""
        self.chunks += 1
        usage, choices = getattr(chunk, "usage", None), getattr(chunk, "choices", None)
        tokens = (_count(usage, "prompt_tokens"), _count(usage, "completion_tokens")) if usage else None
        choice = next(iter(choices), None) if isinstance(choices, list) else None
        if getattr(choice, "index", None):  # Of another answer than the first.
            return Said(tokens=tokens)
        delta, reason = getattr(choice, "delta", None), getattr(choice, "finish_reason", None)
        self.stopped |= bool(reason)
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        return Said(_text(getattr(delta, "content", None)), _text(thought), tokens, _text(reason))

    def end(self) -> None:
        """A stream without a chunk is none of this protocol; one that ends without a reason may have been cut."""
        if not self.chunks:
            raise ModelError(
                "the server answered with no stream of chat completions",
                fix="check base_url: most servers have their routes under /v1",
            )
        if not self.stopped:
            trace.warn("the server ended the stream without saying that the answer is whole: it may be cut off")
