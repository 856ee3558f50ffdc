"""LangChain's `Embeddings` as an encoder of ours, and an encoder of ours as LangChain's `Embeddings`.

    Pipeline(encoder=OpenAIEmbeddings(...))          # accepted as it is
    InMemoryVectorStore(as_langchain(encoder))

LangChain is imported only by `as_langchain`: an object is known by its two verbs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field, PositiveInt, SecretBytes, SecretStr, model_validator

from fovea.rag import registry, trace
from fovea.rag.component import fingerprint
from fovea.rag.encoder import Encoder, Role
from fovea.rag.errors import ConfigError, ModelError, require
from fovea.rag.printable import counted
from fovea.rag.tokens import WordTokenizer
from fovea.rag.windows import joined, text_windows
from fovea.rag.wordpieces import readable

if TYPE_CHECKING:
    import numpy as np
    from langchain_core.embeddings import Embeddings

VERBS = ("embed_documents", "embed_query")


class LangChainEncoder(Encoder, name="langchain"):
    """Scales the vectors of a LangChain `Embeddings` object to unit length. From Python only: YAML names no objects."""

    embeddings: Any = Field(exclude=True, repr=False)
    """Any object with `embed_documents(texts)` and `embed_query(text)`."""
    identity: str = ""
    """What tells these vectors from others', such as model name and version. Left out, the class and public settings of
    the object, where it is a pydantic model; another object needs it said."""
    max_tokens: PositiveInt | None = None
    """Words and marks that the model reads; a longer text is encoded in windows. Left out, no limit is assumed."""

    @model_validator(mode="after")
    def _known(self) -> LangChainEncoder:
        if missing := [v for v in VERBS if not callable(getattr(self.embeddings, v, None))]:
            raise ValueError(f"{type(self.embeddings).__name__} is no LangChain Embeddings: it has no {missing[0]}")
        if not self.identity and not isinstance(self.embeddings, BaseModel):
            raise ConfigError(
                f"{type(self.embeddings).__name__} does not say which model it is, so its vectors could be taken for "
                "another's",
                fix='LangChainEncoder(embeddings=..., identity="model name and version")',
            )
        return self

    @cached_property
    def fingerprint(self) -> str:
        """A hash of `identity`, or of the object's class and public settings; secrets do not enter it."""
        told = self.identity or [_qualified(self.embeddings), _public(self.embeddings)]
        return fingerprint({**self.settings(speed=False), "kind": self.kind, "version": self.version, "identity": told})

    @cached_property
    def dim(self) -> int:
        """Length of a vector, found by encoding a word."""
        return len(self._vectors(["dimension"], "query")[0])

    @property
    def window(self) -> int | None:
        """`max_tokens`."""
        return self.max_tokens

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """Words and marks: LangChain does not say how the model counts."""
        return WordTokenizer()

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`, unit rows; raises ModelError where the object fails or gives no vectors."""
        import numpy as np

        if not texts:
            return np.zeros((0, self.dim), dtype=np.float32)
        parts = [text_windows(readable(text), self.tokenizer, self.max_tokens) for text in texts]
        flat = [part for found in parts for part in found]
        owners = [i for i, found in enumerate(parts) for _ in found]
        long = sum(times > 1 for times in Counter(owners).values())
        trace.warn(f"texts longer than the model's window of {self.max_tokens} tokens were encoded in windows", long)
        weights = [max(1, self.tokenizer.count(part)) for part in flat]
        vectors, empty = joined(self._vectors(flat, role), owners, weights, len(texts))
        trace.warn("texts for which the model gave zeros became the first unit vector", empty)
        return vectors

    def _vectors(self, texts: Sequence[str], role: Role) -> np.ndarray:
        import numpy as np

        name = type(self.embeddings).__name__
        try:
            found = (
                [self.embeddings.embed_query(text) for text in texts]
                if role == "query"
                else self.embeddings.embed_documents(list(texts))
            )
        except Exception as error:  # what lies behind it is a service of any kind
            raise ModelError(
                f"{name} failed on {counted(len(texts), 'texts')}: {type(error).__name__}: {error}"
            ) from error
        vectors = np.asarray(found, dtype=np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise ModelError(
                f"{name} gave {vectors.shape} for {counted(len(texts), 'texts')}, or numbers that are not finite"
            )
        return vectors


def _qualified(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _public(model: BaseModel) -> dict[str, Any]:
    """The fields that are plain data; clients, keys and other secrets are left out."""
    values = {name: getattr(model, name) for name, info in type(model).model_fields.items() if not info.exclude}
    return {k: v for k, v in sorted(values.items()) if _is_plain(v) and not k.endswith(("_key", "_token", "_secret"))}


def _is_plain(value: object) -> bool:
    if isinstance(value, (SecretStr, SecretBytes)):
        return False
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (str, int, float, bool, type(None)))


@registry.adapter("encoder")
def from_langchain(thing: object) -> LangChainEncoder | None:
    """An encoder around any object with LangChain's two verbs, else None."""
    if isinstance(thing, type) or not all(callable(getattr(thing, v, None)) for v in VERBS):
        return None
    return LangChainEncoder(embeddings=thing)


def as_langchain(encoder: Encoder) -> Embeddings:
    """The encoder as LangChain's `Embeddings`, for its vector stores and splitters."""
    core = require("langchain_core.embeddings", extra="langchain", needed_by="as_langchain")

    class FoveaEmbeddings(core.Embeddings):  # type: ignore[name-defined]
        """LangChain's two verbs over `Encoder.encode`."""

        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            """One unit vector a text."""
            return encoder.encode(texts, "document").tolist()

        def embed_query(self, text: str) -> list[float]:
            """The unit vector of a question."""
            return encoder.encode([text], "query")[0].tolist()

    return FoveaEmbeddings()
