"""Markdown: headings with what follows them, paragraphs, list items; fences and table rows stay whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fovea.rag.types import Span
from fovea.segmenters.structure import plain

RULE, BLOCK, ITEM, ROW, CODE_GAP, CODE_LINE, GLUED = 0.85, 0.75, 0.6, 0.2, 0.15, 0.1, 0.05
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_FENCE = re.compile(r"\s*+(`{3,}|~{3,})")
_HEADING = re.compile(r"\s*+(#{1,6})\s")
_UNDERLINE = re.compile(r"\s*+(?:=+|-+)\s*+\Z")
_RULE = re.compile(r"\s*+(?:(?:-\s*+){3,}|(?:\*\s*+){3,}|(?:_\s*+){3,})\Z")
_ITEM = re.compile(r"\s*+(?:[-*+]|\d{1,9}[.)])\s")


class _Line(NamedTuple):
    """A line that is not blank: where its text begins, where it ends, what it is, and whether a blank one precedes."""

    at: int
    end: int
    kind: str
    level: int
    gap: bool


def strengths(text: str, spans: Sequence[Span] | None = None) -> dict[int, float]:
    """Strength by place, places rising; `spans` are the sentences of `text`, where they are known already.

    The place between a heading and what follows it is the weakest of all, so that no chunk is a heading alone while
    anything else can be cut.
    """
    own: dict[int, float] = {}
    whole: list[tuple[int, int]] = []
    before = None
    for line in _lines(text):
        if line.kind in ("open", "code", "close", "row"):
            whole.append((line.at + 1, line.end))
        if line.kind == "underline" and before:
            own[before.at] = 0.95
        if (strength := _strength(line, before)) is not None:
            own[line.at] = strength
        before = line
    found = plain.outside(plain.strengths(text, spans), whole) | own
    return {at: found[at] for at in sorted(found) if 0 < at < len(text)}


def _strength(line: _Line, before: _Line | None) -> float | None:
    """How strongly the text breaks before `line`; None where plain text says it."""
    last = before.kind if before else ""
    if last in ("heading", "underline") or line.kind in ("underline", "close"):
        return GLUED
    if line.kind == "heading":
        return 0.98 - 0.02 * line.level
    if line.kind == "rule":
        return RULE
    if line.kind == "code":
        return CODE_GAP if line.gap else CODE_LINE
    if line.kind == "row" and last == "row":
        return ROW
    if line.kind in ("open", "row") or last in ("close", "row"):
        return BLOCK
    if line.kind == "item":
        return ITEM + 0.1 * line.gap - 0.1 * min(line.level, 2)
    return None


def _lines(text: str) -> Iterator[_Line]:
    fence, gap, last = "", False, ""
    for match in _LINE.finditer(text):
        bare = match[0].strip()
        if not bare:
            gap = True
            continue
        at = match.start() + len(match[0]) - len(match[0].lstrip())
        kind, level = _kind(match[0], bare, fence, last == "text" and not gap)
        fence = bare[: len(bare) - len(bare.lstrip(bare[0]))] if kind == "open" else "" if kind == "close" else fence
        yield _Line(at, match.end(), kind, level, gap)
        gap, last = False, kind


def _kind(line: str, bare: str, fence: str, under_text: bool) -> tuple[str, int]:
    """What a line is, and its level: of a heading, or of a list item by its indentation."""
    if fence:
        return ("close" if bare.startswith(fence) and not bare.strip(fence[0]) else "code"), 0
    if bare[0].isalpha():  # Most lines, and none of what follows begins with a letter.
        return "text", 0
    if _FENCE.match(line):
        return "open", 0
    if heading := _HEADING.match(line):
        return "heading", len(heading[1])
    if under_text and _UNDERLINE.match(line):
        return "underline", 0
    if _RULE.match(line):
        return "rule", 0
    if bare.startswith("|"):
        return "row", 0
    if _ITEM.match(line):
        return "item", (len(line) - len(line.lstrip())) // 2
    return "text", 0
