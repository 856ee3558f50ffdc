"""A chat model by name: any provider that LangChain knows, or any server that speaks one of their protocols.

generate: {use: chat, model: "openai:gpt-4o-mini", temperature: 0}
generate: {use: chat, model: "ollama:qwen3", base_url: "http://localhost:11434"}

Keys come from the environment, as each provider's client expects, and are never written in a pipeline.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from functools import cached_property
from typing import ClassVar

from fovea.pipelines.answering.prompt import INSTRUCTION
from fovea.pipelines.generators.langchain import LangChainGenerator
from fovea.rag.chat import ChatModel
from fovea.rag.corpus import Corpus
from fovea.rag.generation import Generator
from fovea.rag.types import Answer, Hit, Query


class ChatGenerator(ChatModel, Generator, name="chat"):
    """A LangChain chat model, made by `init_chat_model` on the first question.

    Raises MissingExtra for a provider whose package is not installed, and ModelError for whatever the provider raises.
    """

    replies: ClassVar[bool] = True

    instruction: str = INSTRUCTION
    """The system message: how to answer and cite."""

    @cached_property
    def writer(self) -> LangChainGenerator:
        """The chat model, ready to write answers."""
        return LangChainGenerator(model=self.client, instruction=self.instruction)

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The text as the model makes it."""
        return self.writer.stream(query, hits, corpus)

    def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, on the event loop by the provider's own asynchronous client."""
        return self.writer.astream(query, hits, corpus)

    def reply(self, messages: Sequence[tuple[str, str]], limit: int) -> str:
        """What the model says to these messages."""
        return self.writer.reply(messages, limit)

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """The text without markers, each sentence with the evidence found for it."""
        return self.writer.finish(text, query, hits, corpus)
