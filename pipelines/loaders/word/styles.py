"""Styles of paragraphs: what each says itself or inherits from the one it is based on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from fovea.pipelines.loaders.word.package import child, kind, value

_HEADING = re.compile(r"heading ?([1-9])", re.IGNORECASE)
_CODE = re.compile(r"code|source|preformatted|verbatim|listing|macro|plain text", re.IGNORECASE)
_CAPTION = re.compile(r"list paragraph|list of|listing caption|caption", re.IGNORECASE)
DEEPEST = 64
"""Styles that may be based on each other in a row, so that a paragraph costs no more."""
BODY_LEVEL = 9
"""The outline level of what is no heading."""


class Styles:
    """Styles by id; `root` is the part `styles.xml`, or None."""

    def __init__(self, root: Any) -> None:
        styles = [] if root is None else [one for one in root if kind(one) == "w:style"]
        self._by_id = {value(one, "styleId"): one for one in styles}
        paragraphs = [one for one in styles if value(one, "type") == "paragraph"]
        self._default = next(
            (value(one, "styleId") for one in paragraphs if value(one, "default") in ("1", "true")), ""
        )

    def chain(self, style: str) -> Iterator[Any]:
        """The style and those it is based on, nearest first."""
        seen: set[str] = set()
        style = style or self._default
        while style in self._by_id and style not in seen and len(seen) < DEEPEST:
            seen.add(style)
            yield self._by_id[style]
            style = value(child(self._by_id[style], "w:basedOn"))

    def names(self, style: str) -> list[str]:
        """The names of the chain; the id itself where the style is unknown."""
        return [value(child(one, "w:name")) for one in self.chain(style)] or [style]

    def level(self, style: str) -> int:
        """The level of a heading of this style, from 1; 0 if it is none."""
        for one in self.chain(style):
            outline, name = child(one, "w:pPr", "w:outlineLvl"), value(child(one, "w:name"))
            if outline is not None:
                return heading_level(value(outline))
            if found := _HEADING.fullmatch(name):
                return int(found[1])
            if name.lower() == "title":
                return 1
        found = _HEADING.fullmatch(style) if style not in self._by_id else None
        return int(found[1]) if found else int(style == "Title" and style not in self._by_id)

    def is_code(self, style: str) -> bool:
        """Whether paragraphs of this style are lines of code."""
        names = self.names(style) if style else []
        return any(map(_CODE.search, names)) and not any(map(_CAPTION.search, names))

    def numbered(self, style: str) -> tuple[str, int | None, str]:
        """The list that the style puts its paragraphs in: its number, its level if that is said, and which style of
        the chain says so."""
        for one in self.chain(style):
            numbering = child(one, "w:pPr", "w:numPr")
            if number := value(child(numbering, "w:numId")):
                level = value(child(numbering, "w:ilvl"))
                return number, int(level) if level.isdigit() else None, value(one, "styleId")
        return "", None, ""

    def indentation(self, style: str) -> int | None:
        """How far the style sets its paragraphs to the right, in twentieths of a point; None where it says nothing."""
        for one in self.chain(style):
            if (left := left_indentation(child(one, "w:pPr", "w:ind"))) is not None:
                return left
        return None

    def font(self, style: str) -> str:
        """The font that a style of characters sets; "" where it sets none."""
        chain = self.chain(style) if style else ()
        return next((font for one in chain if (font := font_of(child(one, "w:rPr")))), "")


def font_of(properties: Any) -> str:
    """The font that properties of a run set for the letters of the Latin alphabet; "" where they set none."""
    fonts = child(properties, "w:rFonts")
    return value(fonts, "ascii") or value(fonts, "hAnsi")


def heading_level(outline: str) -> int:
    """The level of a heading, from 1, by an outline level from 0; 0 for body text."""
    return int(outline) + 1 if outline.isdigit() and int(outline) < BODY_LEVEL else 0


def left_indentation(element: Any) -> int | None:
    """The left edge that `w:ind` sets, in twentieths of a point."""
    left = value(element, "left") or value(element, "start")
    return int(float(left)) if re.fullmatch(r"-?\d+(\.\d+)?", left) else None
