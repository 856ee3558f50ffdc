"""Which kind of text a document is, and so whose strengths it has."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.rag.types import Span
from fovea.segmenters.structure import code, html, markdown, plain

HEADING, PARAGRAPH, LOOSE = 0.9, 0.75, 0.3
"""From these up the text itself says that a section, or a paragraph, ends. Under `LOOSE`: what should stay whole."""


def strengths(text: str, media_type: str, spans: Sequence[Span] | None = None) -> dict[int, float]:
    """Strength by place, places rising, as the media type of a document reads it. `spans` are the sentences of `text`,
    where they are known already.
    """
    if media_type in ("text/markdown", "text/x-markdown"):
        return markdown.strengths(text, spans)
    if media_type in ("text/html", "application/xhtml+xml"):
        return html.strengths(text, spans)
    if code.reads(media_type):
        return code.strengths(text)
    return plain.strengths(text, spans)
