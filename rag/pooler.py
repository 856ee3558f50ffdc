"""Pooler: the vectors of a document's chunks, made of what the encoder says of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from fovea.rag.component import Component
from fovea.rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder


class Pooler(Component, kind="pooler"):
    """Makes one vector a chunk."""

    by_text: ClassVar[bool] = False
    """Whether a chunk's vector depends on its text alone, and the header of a table that it goes on with, so that equal
    texts share it in any document."""

    @abstractmethod
    def vectors(self, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`, rows of unit length, for chunks of `document` in rising order."""
