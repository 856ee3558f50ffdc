"""Any LangChain chat model as the writer of answers.

pipeline = Pipeline(generate=ChatOpenAI(model="gpt-4o-mini"))

The object is given from Python. In YAML, `{use: chat, model: "openai:gpt-4o-mini"}` makes one by name.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fovea.pipelines.answering.citing import cite
from fovea.pipelines.answering.prompt import INSTRUCTION, messages
from fovea.pipelines.answering.reasoning import Listening
from fovea.pipelines.answering.refusals import NO_ANSWER
from fovea.rag import registry, trace
from fovea.rag.chat import is_secret
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ModelError
from fovea.rag.generation import Generator
from fovea.rag.provider_errors import explain
from fovea.rag.types import Answer, Hit, Query

CUT = frozenset({"length", "max_tokens", "max_output_tokens", "model_context_window_exceeded"})
REFUSED = frozenset({"content_filter", "refusal", "safety", "recitation", "blocklist", "prohibited_content"})
"""Words by which providers say why a model stopped."""


class LangChainGenerator(Generator):
    """A `BaseChatModel` asked with numbered passages. Its tokens are counted in the trace where it reports them.

    Raises ModelError for whatever the provider raises, and for an empty answer. Without passages no model is asked.
    """

    name: ClassVar[str] = "langchain"

    model: Any
    """The chat model."""

    instruction: str = INSTRUCTION
    """The system message: how to answer and cite."""

    def settings(self, *, speed: bool = True) -> dict[str, Any]:
        """The model by its class and the parameters by which LangChain tells models apart; never its keys."""
        kind = type(self.model)
        parameters = getattr(self.model, "_identifying_params", {})
        told = {k: str(v) for k, v in sorted(parameters.items()) if v is not None and not is_secret(k)}
        return {
            "use": self.name,
            "model": f"{kind.__module__}.{kind.__qualname__}",
            "parameters": told,
            "instruction": self.instruction,
        }

    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The text as the model makes it; in one piece if it cannot stream."""
        if not hits:
            yield _no_passages()
            return
        told = _Told(_called(self.model))
        try:
            for chunk in self.model.stream(messages(query, hits, self.instruction, corpus)):
                if piece := told.take(chunk):
                    yield piece
        except Exception as error:  # every provider raises its own kinds
            raise explain(error, told.model, told.length) from error
        if piece := told.close():
            yield piece

    async def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, on the event loop by the model's own asynchronous client."""
        if not hits:
            yield _no_passages()
            return
        told = _Told(_called(self.model))
        try:
            async for chunk in self.model.astream(messages(query, hits, self.instruction, corpus)):
                if piece := told.take(chunk):
                    yield piece
        except Exception as error:  # every provider raises its own kinds
            raise explain(error, told.model, told.length) from error
        if piece := told.close():
            yield piece

    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """The text without markers, each sentence with the evidence found for it."""
        return cite(text, hits, corpus, question=query.text)


@dataclass
class _Told:
    """What a model has said so far: how much text, what it thought aloud, which tokens, and why it stopped."""

    model: str
    length: int = 0
    usage: Any = None
    stopped: set[str] = field(default_factory=set)
    heard: Listening = field(default_factory=Listening)
    thoughts: list[str] = field(default_factory=list)

    def take(self, chunk: Any) -> str:
        from langchain_core.messages.ai import add_usage

        text = self.heard.take(str(chunk.text))
        self.length += len(text.strip())
        self.thoughts += thoughts(chunk)
        if usage := getattr(chunk, "usage_metadata", None):
            self.usage = add_usage(self.usage, usage)
        why = chunk.response_metadata
        self.stopped |= {str(why[k]).lower() for k in ("finish_reason", "stop_reason", "done_reason") if why.get(k)}
        return text

    def close(self) -> str:
        """What of the answer was held back. Reports tokens and reasoning; a cut answer is a warning, one without words
        or refused an error.
        """
        stage, rest = trace.current(), self.heard.close()
        self.length += len(rest.strip())
        stage.note(model=self.model)
        if thought := "".join(self.thoughts) or self.heard.parts[0]:
            stage.note(reasoning=thought)
        if self.usage:
            stage.count(input_tokens=self.usage["input_tokens"], output_tokens=self.usage["output_tokens"])
        if self.stopped & REFUSED:
            raise ModelError(
                f"{self.model} stopped after {self.length} characters: the provider's filter held the answer back",
                fix="ask in other words, or use another model",
            )
        if not self.length:
            raise ModelError(
                f"{self.model} gave an empty answer (stopped: {', '.join(sorted(self.stopped)) or 'no reason given'})",
                fix="raise max_tokens (a reasoning model may spend all of them on thinking), or use another model",
            )
        if self.stopped & CUT:
            trace.warn(f"{self.model} reached its limit of tokens: the answer is cut off")
        return rest


def thoughts(chunk: Any) -> list[str]:
    """The reasoning that a provider sends apart from the text: in blocks of the content, or beside it."""
    blocks = chunk.content if isinstance(chunk.content, list) else []
    kinds = ("reasoning", "thinking", "reasoning_content")
    found = [str(b.get(k)) for b in blocks if isinstance(b, dict) for k in kinds if isinstance(b.get(k), str)]
    beside = chunk.additional_kwargs.get("reasoning_content")
    return [*found, *([beside] if isinstance(beside, str) else [])]


def _no_passages() -> str:
    trace.current().note(no_answer="no passages came back, so the model was not asked")
    return NO_ANSWER


def _called(model: Any) -> str:
    """The model's name for people: what it says of itself, else its class."""
    for attribute in ("model_name", "model", "model_id"):
        if isinstance(name := getattr(model, attribute, None), str) and name:
            return name
    return type(model).__name__


@registry.adapter("generator")
def _chat_model(thing: object) -> Generator | None:
    """A LangChain chat model as a generator. Nobody can hold one before langchain_core is imported."""
    if "langchain_core.language_models.chat_models" not in sys.modules:
        return None
    from langchain_core.language_models.chat_models import BaseChatModel

    return LangChainGenerator(model=thing) if isinstance(thing, BaseChatModel) else None
