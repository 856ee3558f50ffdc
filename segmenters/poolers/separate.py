"""Separate encoding: every chunk is read by itself, after the segmenter is done. Exact, and the text is read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fovea.rag.pooler import Pooler
from fovea.rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder


class SeparatePooler(Pooler, name="separate"):
    """What the encoder makes of each chunk's text."""

    by_text: ClassVar[bool] = True

    def vectors(self, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`."""
        return encoder.encode([chunk.text for chunk in chunks])
