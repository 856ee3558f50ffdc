"""Markdown: headings with what follows them, paragraphs, list items; fences and table rows stay whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fovea.rag.markdown import Line, lines
from fovea.rag.types import Span
from fovea.segmenters.structure import code, plain

RULE, BLOCK, ITEM, ROW, CODE_LINE, GLUED = 0.85, 0.75, 0.6, 0.2, 0.1, 0.05
CODE_SHARE = 1 / 6
"""How strongly code breaks in a fence, beside how strongly it breaks in a file: from `GLUED` up to `ROW`."""


def strengths(text: str, spans: Sequence[Span] | None = None) -> dict[int, float]:
    """Strength by place, places rising; `spans` are the sentences of `text`, where they are known already.

    The place between a heading and what follows it is the weakest of all, so that no chunk is a heading alone while
    anything else can be cut. A fence is cut as code is, between functions before lines.
    """
    own: dict[int, float] = {}
    whole: list[tuple[int, int]] = []
    fence: list[Line] = []
    before = None
    for line in lines(text):
        if line.kind in ("open", "code", "close", "row"):
            whole.append((line.at + 1, line.next))
        if line.kind == "underline" and before:
            own[before.at] = 0.95
        if (strength := _strength(line, before)) is not None:
            own[line.at] = strength
        if line.kind == "code":
            fence.append(line)
        elif fence:
            own.update(_code(text, fence))
            fence = []
        before = line
    own.update(_code(text, fence))
    found = plain.outside(plain.strengths(text, spans), whole) | own
    return {at: found[at] for at in sorted(found) if 0 < at < len(text)}


def _code(text: str, fence: Sequence[Line]) -> Iterator[tuple[int, float]]:
    """Places inside a fence, whose lines these are."""
    if fence:
        start = fence[0].start
        for at, strength in code.strengths(text[start : fence[-1].end]).items():
            if start + at > fence[0].at:
                yield start + at, GLUED + CODE_SHARE * strength


def _strength(line: Line, before: Line | None) -> float | None:
    """How strongly the text breaks before `line`; None where plain text says it."""
    last = before.kind if before else ""
    if last in ("heading", "underline") or line.kind in ("underline", "close"):
        return GLUED
    if line.kind == "heading":
        return 0.98 - 0.02 * line.level
    if line.kind == "rule":
        return RULE
    if line.kind == "code":
        return CODE_LINE
    if line.kind == "row" and last == "row":
        return ROW
    if line.kind in ("open", "row") or last in ("close", "row"):
        return BLOCK
    if line.kind == "item":
        return ITEM + 0.1 * line.gap - 0.1 * min(line.level, 2)
    return None
