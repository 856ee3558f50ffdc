"""Superscripts and subscripts of OpenDocument, which only their styles tell."""

from __future__ import annotations

import re
from typing import Any

from fovea.pipelines.loaders.opendocument.words import STYLE, TEXT
from fovea.pipelines.loaders.scripts import END, SUB, SUP

_POSITION = re.compile(r"(super|sub)|(-?)(?!0+%)\d+(?:\.\d+)?%")


def mark_raised(roots: list[Any]) -> None:
    """Set the marks of `fovea.pipelines.loaders.scripts` around what is raised or lowered in the parts of a file."""
    styles = {style.get(f"{STYLE}name", ""): style for root in roots for style in root.iter(f"{STYLE}style")}
    marks = {name: mark for name in styles if (mark := _mark(styles, name))}
    for span in (span for root in roots for span in root.iter(f"{TEXT}span")):
        if mark := marks.get(span.get(f"{TEXT}style-name"), ""):
            span.text = mark + (span.text or "")
            if len(span):
                span[-1].tail = (span[-1].tail or "") + END
            else:
                span.text += END


def _mark(styles: dict[str, Any], name: str) -> str:
    """The mark that a style sets, or the nearest of those it is based on."""
    seen: set[str] = set()
    while name in styles and name not in seen:
        seen.add(name)
        properties = styles[name].find(f"{STYLE}text-properties")
        position: str = "" if properties is None else properties.get(f"{STYLE}text-position", "")
        if position:
            found = _POSITION.match(position)
            return "" if not found else SUB if found[1] == "sub" or found[2] else SUP
        name = styles[name].get(f"{STYLE}parent-style-name", "")
    return ""
