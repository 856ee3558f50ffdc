"""Fixed size: every chunk takes as many words as fit, whatever they say. The floor that other methods must beat."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.segmenters.places import words

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class FixedSegmenter(Segmenter, name="fixed"):
    """Chunks of `max_tokens` tokens, cut between words."""

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """Every word start, all equally strong: the budget alone decides."""
        return (Cut(at, 0.5) for at in words(text, 0, len(text)))
