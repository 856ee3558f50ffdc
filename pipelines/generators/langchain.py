"""Any LangChain chat model as the writer of answers.

pipeline = Pipeline(generate=ChatOpenAI(model="gpt-4o-mini"))

The object is given from Python. In YAML, `{use: chat, model: "openai:gpt-4o-mini"}` makes one by name.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar

from fovea.pipelines.answering.writing import Messages, ModelWriter, Said
from fovea.rag import registry
from fovea.rag.generation import Generator
from fovea.rag.secret_words import is_secret


class LangChainGenerator(ModelWriter):
    """A `BaseChatModel` asked with numbered passages. Its tokens are counted in the trace where it reports them.

    Raises ModelError for whatever the provider raises, and for an empty answer. Without passages no model is asked.
    """

    name: ClassVar[str] = "langchain"

    model: Any
    """The chat model."""

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

    def said(self, messages: Messages, limit: int | None = None) -> Iterator[Said]:
        """The chunks of the chat model, each as it comes; its own settings alone say how many tokens it may take."""
        yield from map(_said, self.model.stream(list(messages)))

    async def asaid(self, messages: Messages) -> AsyncIterator[Said]:
        """Like `said`, by the model's own asynchronous client."""
        async for chunk in self.model.astream(list(messages)):
            yield _said(chunk)

    @property
    def called(self) -> str:
        """What the model says of itself, else its class."""
        for attribute in ("model_name", "model", "model_id"):
            if isinstance(name := getattr(self.model, attribute, None), str) and name:
                return name
        return type(self.model).__name__


def _said(chunk: Any) -> Said:
    usage, why = getattr(chunk, "usage_metadata", None), chunk.response_metadata
    tokens = (usage["input_tokens"], usage["output_tokens"]) if usage else None
    reasons = [str(why[k]) for k in ("finish_reason", "stop_reason", "done_reason") if why.get(k)]
    return Said(str(chunk.text), "".join(thoughts(chunk)), tokens, reasons[0] if reasons else "")


def thoughts(chunk: Any) -> list[str]:
    """The reasoning that a provider sends apart from the text: in blocks of the content, or beside it."""
    blocks = chunk.content if isinstance(chunk.content, list) else []
    kinds = ("reasoning", "thinking", "reasoning_content")
    found = [str(b.get(k)) for b in blocks if isinstance(b, dict) for k in kinds if isinstance(b.get(k), str)]
    beside = chunk.additional_kwargs.get("reasoning_content")
    return [*found, *([beside] if isinstance(beside, str) else [])]


@registry.adapter("generator")
def _chat_model(thing: object) -> Generator | None:
    """A LangChain chat model as a generator. Nobody can hold one before langchain_core is imported."""
    if "langchain_core.language_models.chat_models" not in sys.modules:
        return None
    from langchain_core.language_models.chat_models import BaseChatModel

    return LangChainGenerator(model=thing) if isinstance(thing, BaseChatModel) else None
