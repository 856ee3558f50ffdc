"""A document made of blocks of text that a set gives one by one."""

from __future__ import annotations

from collections.abc import Sequence

from fovea.rag.types import Span

BETWEEN = "\n\n"


def joined(blocks: Sequence[str]) -> tuple[str, list[Span]]:
    """The text of blocks with a blank line between them, and where each block lies in it."""
    spans, at = [], 0
    for block in blocks:
        spans.append(Span(at, at + len(block)))
        at += len(block) + len(BETWEEN)
    return BETWEEN.join(blocks), spans
