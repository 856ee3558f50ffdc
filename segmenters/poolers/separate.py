"""Separate encoding: every chunk is read by itself, after the segmenter is done. Exact, and the text is read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fovea.rag.pooler import Pooler
from fovea.rag.tables import with_headers
from fovea.rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder


class SeparatePooler(Pooler, name="separate"):
    """What the encoder makes of each chunk's text; rows of a table are read behind their header row."""

    by_text: ClassVar[bool] = True
    version: ClassVar[int] = 2

    def vectors(self, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`."""
        return encoder.encode(with_headers(document, chunks))
