"""Encoder and Tokenizer: text to unit vectors, and text to token positions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from fovea.rag.component import Component
from fovea.rag.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

Role = Literal["document", "query"]


class Tokenizer(Protocol):
    """Counts as the model counts, without its special tokens."""

    def count(self, text: str) -> int:
        """How many tokens the model would read for `text`."""

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies: int64 `(tokens, 2)`, half-open character ranges of `text`, in order."""


class TokenStates(NamedTuple):
    """A text as a model reads it."""

    vector: np.ndarray
    """What `Encoder.encode` gives for the text, float32 `(dim,)`."""
    ids: np.ndarray
    """Its tokens by their numbers, int64 `(tokens,)`, without special tokens and prompt."""
    states: np.ndarray
    """The model's last state at each token, float32 `(tokens, width)`."""


class Encoder(Component, kind="encoder"):
    """Turns texts into unit vectors whose inner product is their similarity."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def space(self) -> str:
        """What tells whose vectors these are: weights trained on vectors work with encoders of the same space."""
        return self.fingerprint

    @property
    @abstractmethod
    def window(self) -> int | None:
        """How many tokens of a text the model can read, special tokens not counted; None for no limit."""

    @property
    @abstractmethod
    def tokenizer(self) -> Tokenizer:
        """The model's own tokenizer; budgets of chunks and contexts are counted with it."""

    @abstractmethod
    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Encode in any order and return in the order given: float32 `(texts, dim)`, rows of unit length.

        A text longer than `window` is never cut in silence: it is encoded in windows whose mean is taken, and counted
        as a warning of the running trace.
        """

    def encode_each(self, parts: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """The vectors of each part of many documents' texts, `(texts, dim)`, in order. Each is asked for when the one
        before is taken; an encoder with helpers may make several at once.
        """
        return (self.encode(part) for part in parts)

    def token_states(self, texts: Sequence[str], role: Role = "document") -> list[TokenStates]:
        """What `encode` gives and the states it is made of, by one run of the model.

        Raises ConfigError for an encoder that shows no more than its vectors.
        """
        raise ConfigError(
            f"the encoder {self.name} shows vectors of texts, but no states of their tokens",
            where="encoder",
            fix="encoder: {use: sentence_transformer, ...}",
        )
