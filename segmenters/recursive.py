"""Recursive by structure: sections before paragraphs before sentences before words, as the kind of text has them.

The kind is the document's media type: Markdown, HTML, source code, else plain text. All places are offered at once with
their strengths; the packer's optimum does what splitting by one separator after the other approximates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.segmenters.structure.kinds import strengths

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class RecursiveSegmenter(Segmenter, name="recursive"):
    """Chunks that end at the strongest breaks of the text which `max_tokens` allows."""

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """Cuts at headings, blocks, paragraphs, list items, definitions, lines and sentences."""
        return (Cut(at, strength) for at, strength in strengths(text, document.media_type).items())
