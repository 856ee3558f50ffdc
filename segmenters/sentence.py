"""Sentence packing: every chunk takes as many whole sentences as fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.sentences import sentences
from fovea.rag.types import Document

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class SentenceSegmenter(Segmenter, name="sentence"):
    """Whole sentences up to `max_tokens`; only a sentence that is larger by itself is cut."""

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """Every sentence start, all equally strong."""
        return (Cut(span.start, 0.5) for span in sentences(text) if span.start)
