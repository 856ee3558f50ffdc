"""Feature hashing: an encoder with no model, no files and no downloads.

Each word, and each of its character trigrams at a lower weight, is hashed to one signed coordinate (Weinberger et al.,
2009, "Feature hashing for large scale multitask learning"); the sum is scaled to unit length. It knows spelling, not
meaning: for tests, for a first try without downloads, and as the floor any learned encoder must beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING

from pydantic import PositiveInt

from fovea.rag.encoder import Encoder, Role
from fovea.rag.tokens import WordTokenizer

if TYPE_CHECKING:
    import numpy as np


class HashEncoder(Encoder, name="hash"):
    """Signed hashing of words and character trigrams into `size` coordinates."""

    size: PositiveInt = 256
    """Length of a vector: fewer coordinates, more collisions."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.size

    @property
    def window(self) -> None:
        """No limit: every word counts."""
        return None

    @cached_property
    def tokenizer(self) -> WordTokenizer:
        """Words, CJK characters and marks."""
        return WordTokenizer()

    def encode(self, texts: Sequence[str], role: Role = "document") -> np.ndarray:
        """Float32 `(texts, size)`; a text without words becomes the first unit vector."""
        import numpy as np

        vectors = np.zeros((len(texts), self.size), dtype=np.float32)
        for row, text in zip(vectors, texts):
            for word in self.tokenizer.words(text.lower()):
                self._add(row, word, 1.0)
                for i in range(len(word) - 2):
                    self._add(row, "3" + word[i : i + 3], 0.3)
            if not row.any():
                row[0] = 1.0
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def _add(self, row: np.ndarray, feature: str, weight: float) -> None:
        digest = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
        row[(digest >> 1) % self.size] += weight if digest & 1 else -weight
