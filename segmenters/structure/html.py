"""HTML as written: before and after block elements, and between sentences outside tags."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from fovea.rag.types import Span
from fovea.segmenters.structure import plain

WEAKER, GLUED = 0.2, 0.05
_TAG = re.compile(r"<!--|<(/?)([a-zA-Z][a-zA-Z0-9]*+)[^<>]*+>")
_SPACE = re.compile(r"\s*+")
_ELEMENT_END = {name: re.compile(rf"</{name}\b[^<>]*+>", re.IGNORECASE) for name in ("script", "style")}
_HEADINGS = {f"h{n}": 0.98 - 0.02 * n for n in range(1, 7)}
_STRENGTH = {
    **_HEADINGS,
    **dict.fromkeys(["article", "section", "main", "body", "header", "footer", "nav", "aside"], 0.9),
    **dict.fromkeys(["p", "div", "ul", "ol", "dl", "blockquote", "pre", "figure", "form", "hr", "details"], 0.8),
    "table": 0.75,
    **dict.fromkeys(["li", "dt", "dd", "figcaption", "summary"], 0.6),
    "br": 0.4,
    "tr": 0.2,
}
"""How strongly the text breaks before an element opens and after it closes."""


class _Tag(NamedTuple):
    """A tag, or a whole comment, script or style, `[start, end)`; `after` is where the next thing begins."""

    start: int
    end: int
    after: int
    name: str
    closes: bool


def strengths(text: str, spans: Sequence[Span] | None = None) -> dict[int, float]:
    """Strength by place, places rising; `spans` are the sentences of `text`, where they are known already.

    No place lies inside a tag, a comment, a script or a style; lines of `pre` and cells of a table are weak places; a
    heading stays with what follows it.
    """
    tags = list(_tags(text))
    prose = plain.outside(plain.strengths(text, spans), [(tag.start + 1, tag.end) for tag in tags])
    strong = plain.outside(prose, _within(tags, ("pre", "table"), len(text)))
    found = {at: strength if at in strong else strength * WEAKER for at, strength in prose.items()}
    glued = -1
    for tag in tags:
        at = tag.after if tag.closes or tag.name in ("br", "hr") else tag.start
        if tag.name in _STRENGTH and at != glued:
            found[at] = max(_STRENGTH[tag.name], found.get(at, 0))
        if (tag.closes and tag.name in _HEADINGS) or (tag.start == glued and tag.name not in _STRENGTH):
            glued = tag.after
            found[glued] = GLUED
    return {at: found[at] for at in sorted(found) if 0 < at < len(text)}


def _within(tags: list[_Tag], names: tuple[str, ...], length: int) -> Iterator[tuple[int, int]]:
    """The outermost contents of the elements called `names`; one never closed reaches to the end."""
    depth, start = 0, 0
    for tag in tags:
        if tag.name in names:
            start = tag.end if not depth else start
            depth = max(0, depth - 1) if tag.closes else depth + 1
            if tag.closes and not depth:
                yield start, max(start, tag.start)
    if depth:
        yield start, length


def _tags(text: str) -> Iterator[_Tag]:
    at = 0
    while match := _TAG.search(text, at):
        name, closes = (match[2] or "").lower(), bool(match[1])
        at = match.end()
        if not name:
            found = text.find("-->", at)
            at = found + 3 if found >= 0 else len(text)
        elif name in _ELEMENT_END and not closes:
            end = _ELEMENT_END[name].search(text, at)
            at = end.end() if end else len(text)
        space = _SPACE.match(text, at)
        yield _Tag(match.start(), at, space.end() if space else at, name, closes)
