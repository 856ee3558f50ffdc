"""ChatModel: a chat model by name, from any provider that LangChain knows or any server that speaks their protocols.

Whatever component asks one (it writes answers, it says where a chunk stands) has these settings. Keys come from the
environment, as each provider's client expects, and are never written in a pipeline.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from fovea.rag.component import Component, SpeedOnly
from fovea.rag.errors import MissingExtra, ModelError, require
from fovea.rag.provider_errors import explain
from fovea.rag.requirements import Requirement, has, package, server
from fovea.rag.secret_words import is_secret, words_of

PACKAGES = {
    "azure_openai": "openai", "langsmith": "openai", "anthropic_bedrock": "aws", "bedrock": "aws",
    "bedrock_converse": "aws", "bedrock_mantle_anthropic": "aws", "bedrock_mantle_openai": "aws",
    "google_anthropic_vertex": "google_vertexai", "nvidia": "nvidia_ai_endpoints",
}  # fmt: skip
"""Providers whose package is not called `langchain_` and their name."""
PROVIDERS = (
    "anthropic", "azure_ai", "baseten", "cohere", "deepseek", "fireworks", "google_genai", "google_vertexai", "groq",
    "huggingface", "ibm", "litellm", "meta", "mistralai", "ollama", "openai", "openrouter", "perplexity", "together",
    "upstage", "xai", *PACKAGES,
)  # fmt: skip
"""Those that LangChain 1.5 knows by name; a later one may know more."""

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

    @property
    def provider(self) -> Requirement:
        """The package that speaks to the provider of the model, of which a later LangChain may know more."""
        name = self.model.partition(":")[0].replace("-", "_").lower()
        module = f"langchain_{PACKAGES.get(name, name)}"

        def check() -> None:
            if name in PROVIDERS and not has(module):
                package = module.replace("_", "-")
                raise MissingExtra(
                    f"the model {self.model!r} needs the package {package!r}, which is not installed",
                    fix=f"pip install {package}",
                )

        return Requirement(f"the package {module}", check)

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """LangChain, the provider's package, its key, and the server where `base_url` names one."""
        yield from super().requirements(encoder)
        langchain = package("langchain", "chat", f"the {self.kind} {self.name!r}")
        yield langchain
        yield self.provider
        if not (langchain.lacking or self.provider.lacking):
            yield Requirement("the provider's client", lambda: self.client, offline=False)
        if self.base_url is not None:
            yield server(self.base_url, f"the {self.kind} {self.name!r}", "start the server, or mend base_url")

    @cached_property
    def client(self) -> Any:
        """The chat model, ready to be asked."""
        models = require("langchain.chat_models", extra="chat", needed_by=f"the {self.kind} {self.name!r}")
        self.provider.check()
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
            got = self.model.partition(":")[0]
            what = f"unknown provider in {self.model!r}"
            raise ModelError(what, got=got, allowed=PROVIDERS, fix='model: "openai:gpt-4o-mini"') from None
        except Exception as error:  # every provider's client raises its own kinds, most often for a missing key
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ModelError:
        if "key" in str(error).lower() or "credential" in str(error).lower():
            what = f"the model {self.model!r} has no key: {words_of(error, most=300)}"
            return ModelError(what, fix="set the key in the environment")
        found = explain(error, self.model)
        return found if isinstance(found, ModelError) else ModelError(str(found))
