"""An encoder in front of another, whose vectors it gives."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from fovea.rag.encoder import Encoder, Role, Tokenizer, TokenStates

if TYPE_CHECKING:
    import numpy as np


class WrappedEncoder(Encoder):
    """Passes everything on to the encoder behind; what it is for, a subclass does."""

    behind: Encoder

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.behind.dim

    @property
    def window(self) -> int | None:
        """How many tokens of a text the model can read."""
        return self.behind.window

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self.behind.tokenizer

    @property
    def space(self) -> str:
        """That of the encoder behind."""
        return self.behind.space

    @property
    def fingerprint(self) -> str:
        """That of the encoder behind."""
        return self.behind.fingerprint

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`."""
        return self.behind.encode(texts, role)

    def encode_each(self, parts: Iterable[Sequence[str]]) -> Iterator[np.ndarray]:
        """The vectors of each part, in order."""
        return self.behind.encode_each(parts)

    def token_states(self, texts: Sequence[str], role: Role = "document") -> list[TokenStates]:
        """Those of the encoder behind."""
        return self.behind.token_states(texts, role)
