"""An encoder with a memory: what was encoded once is looked up, so that a text is read once however many stages ask.

The memory is anything with `get` and `put`; a dictionary of one document's texts is enough for a segmenter and a pooler
to share one pass, a library makes it last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fovea.rag.encoder import Encoder, Role
from fovea.rag.wrapped import WrappedEncoder

if TYPE_CHECKING:
    import numpy as np


@runtime_checkable
class Memory(Protocol):
    """Keeps vectors of texts."""

    def get(self, texts: Sequence[str]) -> Mapping[str, np.ndarray]:
        """The vectors there are, by text."""

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors `(texts, dim)`."""


class Kept(dict[str, "np.ndarray"]):
    """A memory that lasts as long as this object."""

    def get(self, texts: Sequence[str]) -> Mapping[str, np.ndarray]:  # type: ignore[override]
        """The vectors there are, by text."""
        return {text: self[text] for text in texts if text in self}

    def put(self, texts: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors `(texts, dim)`."""
        self.update(zip(texts, vectors))


class RememberingEncoder(WrappedEncoder):
    """Gives just the vectors of the encoder behind it; documents are remembered, questions pass through.

    It has no name, since YAML has no use for it: `RememberingEncoder.of(encoder, memory)` makes one.
    """

    memory: Memory
    slice: int = 128
    """Texts encoded between two `put`s: what an interruption can cost."""

    @classmethod
    def of(cls, encoder: Encoder, memory: Memory | None = None, slice: int = 128) -> RememberingEncoder:
        """`encoder` with a memory, by default one that lasts as long as the result."""
        return cls.model_construct(behind=encoder, memory=Kept() if memory is None else memory, slice=slice)

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, dim)`; only what the memory lacks is encoded, each text once, like lengths together."""
        import numpy as np

        if role != "document":
            return self.behind.encode(texts, role)
        found = dict(self.memory.get(list(dict.fromkeys(texts))))
        missing = sorted((t for t in dict.fromkeys(texts) if t not in found), key=len)
        parts = [missing[at : at + self.slice] for at in range(0, len(missing), self.slice)]
        for part, vectors in zip(parts, self.behind.encode_each(parts)):
            self.memory.put(part, vectors)
            found.update(zip(part, vectors))
        if not texts:
            return np.zeros((0, self.dim), np.float32)
        return np.stack([found[text] for text in texts])
