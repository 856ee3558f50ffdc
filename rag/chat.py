"""ChatModel: a chat model by name, from any provider that LangChain knows or any server that speaks their protocols.

Whatever component asks one (it writes answers, it says where a chunk stands) has these settings. Keys come from the
environment, as each provider's client expects, and are never written in a pipeline.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from fovea.rag.component import Component, SpeedOnly
from fovea.rag.errors import MissingExtra, ModelError, require
from fovea.rag.provider_errors import explain

Option = str | int | float | bool | list[str]


class ChatModel(Component):
    """A LangChain chat model, made by `init_chat_model` on first use.

    Raises MissingExtra for a provider whose package is not installed, and ModelError for whatever the provider raises.
    """

    model: str = Field(pattern=r"^[\w-]+:\S+$")
    """PROVIDER:MODEL, such as `openai:gpt-4o-mini`, `anthropic:claude-haiku-4-5` or `ollama:qwen3`."""

    temperature: float | None = Field(default=0.0, ge=0, le=2)
    """0 for the likeliest words; null for models that accept none."""

    max_tokens: PositiveInt | None = None
    """The most tokens of an answer; null leaves it to the provider."""

    timeout: SpeedOnly[PositiveFloat | None] = 60.0
    """Seconds to wait for the provider."""

    max_retries: SpeedOnly[NonNegativeInt | None] = 2
    """How often the provider's client asks again before it gives up; null leaves it to the client."""

    base_url: str | None = None
    """Another address that speaks the provider's protocol: vLLM, llama.cpp, Ollama, a gateway."""

    options: dict[str, Option] = Field(default_factory=dict)
    """Further settings of the provider's own client. No keys: those belong in the environment."""

    @field_validator("options")
    @classmethod
    def _no_secrets(cls, options: dict[str, Option]) -> dict[str, Option]:
        for key in options:
            if is_secret(key):
                raise ValueError(f"{key!r} looks like a secret: set it in the environment, not in the pipeline")
        return options

    @cached_property
    def client(self) -> Any:
        """The chat model, ready to be asked."""
        models = require("langchain.chat_models", extra="chat", needed_by=f"the {self.kind} {self.name!r}")
        given = {
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "timeout": self.timeout,
            "max_retries": self.max_retries,
            "base_url": self.base_url,
        }
        try:
            return models.init_chat_model(
                self.model, **{k: v for k, v in given.items() if v is not None}, **self.options
            )
        except ImportError as error:
            package = re.search(r"langchain-[\w-]+", str(error))
            raise MissingExtra(
                f"the model {self.model!r} needs a package that is not installed: {error}",
                fix=f"pip install {package[0]}" if package else "install the package the message names",
            ) from None
        except ValueError as error:
            if "provider" not in str(error).lower():
                raise self._refused(error) from error
            raise ModelError(
                f"unknown provider in {self.model!r}: {error}", fix='model: "openai:gpt-4o-mini"'
            ) from None
        except Exception as error:  # every provider's client raises its own kinds, most often for a missing key
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ModelError:
        if "key" in str(error).lower() or "credential" in str(error).lower():
            words = " ".join(str(error).split())[:300]
            return ModelError(f"the model {self.model!r} has no key: {words}", fix="set the key in the environment")
        found = explain(error, self.model)
        return found if isinstance(found, ModelError) else ModelError(str(found))


def is_secret(key: str) -> bool:
    """Whether a setting of this name holds something that must not be written down."""
    return any(word in key.lower() for word in ("key", "secret", "token", "password", "credential")) and (
        not key.lower().endswith("tokens")
    )
