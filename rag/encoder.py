"""Encoder and Tokenizer: text to unit vectors, and text to token positions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, Protocol

from rag.component import Component
from rag.errors import ModelError

if TYPE_CHECKING:
    import numpy as np

Role = Literal["document", "query"]


class Tokenizer(Protocol):
    """Counts as the model counts, without its special tokens."""

    def count(self, text: str) -> int:
        """How many tokens the model would read for `text`."""

    def offsets(self, text: str) -> np.ndarray:
        """Where each token lies: int64 `(tokens, 2)`, half-open character ranges of `text`, in order."""


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

    def states(self, texts: Sequence[str]) -> list[np.ndarray]:
        """What the model makes of each token, by text: float32 `(tokens, dim)`, a row for each of
        `tokenizer.offsets(text)`, whose mean over a text, scaled to unit length, is its vector but for special tokens.

        Raises ModelError where the encoder has no such states, and for a text of more tokens than `window`.
        """
        raise ModelError(
            f"the encoder {self.name!r} does not give the states of tokens",
            fix="encoder: {use: sentence_transformer}, with a model that pools by the mean",
        )
