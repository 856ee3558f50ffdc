"""A chain of segmenters: each refines the spans made by the one before and never cuts across them."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.segmenter import Segmenter
from fovea.rag.types import Chunk, Document, Span
from fovea.segmenters.packer import pack


def segment(document: Document, segmenters: Sequence[Segmenter], encoder: Encoder) -> list[Chunk]:
    """The chunks of `document`, in order; none for a blank one.

    The last segmenter's cap is the encoder's window where it sets none. Raises ConfigError for an empty chain, and if
    an earlier segmenter sets an overlap: chunks that repeat text cannot be refined in order.
    """
    if not segmenters:
        raise ConfigError("a chain needs at least one segmenter", where="segment", fix="segment: [{use: recursive}]")
    if len(segmenters) > 1 and not isinstance(encoder, RememberingEncoder):
        encoder = RememberingEncoder.of(encoder)  # What one of the chain encoded serves the next.
    spans = [Span(0, len(document.text))]
    for number, segmenter in enumerate(segmenters, 1):
        last = number == len(segmenters)
        if segmenter.overlap and not last:
            raise ConfigError(
                f"only the last segmenter of a chain may overlap, {segmenter.name!r} is number {number}",
                where=f"segment[{number - 1}].overlap",
                got=str(segmenter.overlap),
                fix="move overlap to the last segmenter",
            )
        cap = segmenter.max_tokens or (encoder.window if last else None)
        spans = [fine for coarse in spans for fine in refine(document, coarse, segmenter, encoder, cap)]
    return [document.chunk(span) for span in spans]


def refine(document: Document, span: Span, segmenter: Segmenter, encoder: Encoder, cap: int | None) -> list[Span]:
    """The spans that one segmenter makes of one span."""
    text = document.text[span.start : span.end]
    if not text.strip():
        return []
    found = pack(
        text,
        segmenter.cuts(text, document, encoder),
        encoder.tokenizer,
        max_tokens=cap,
        min_tokens=segmenter.min_tokens,
        overlap=segmenter.overlap,
    )
    return [Span(span.start + s.start, span.start + s.end) for s in found]
