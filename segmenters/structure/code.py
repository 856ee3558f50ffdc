"""Source code of any language with lines and indentation: definitions with what introduces them, gaps, lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

LANGUAGES = frozenset(
    [
        *("python", "java", "kotlin", "scala", "groovy", "javascript", "typescript", "c", "c++", "csharp", "go"),
        *("rust", "ruby", "php", "swift", "r", "sh", "sql", "lua", "perl", "julia", "css", "json", "yaml", "toml"),
    ]
)
"""Media types `text/x-NAME`, `text/NAME` or `application/NAME` that are read as code."""

DEFINITION, GAP, LINE, GLUED = 0.9, 0.6, 0.3, 0.05
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_DEFINES = re.compile(
    r"(?:(?:export|default|public|private|protected|internal|static|final|abstract|async|pub(?:\([a-z]+\))?|unsafe|"
    r"inline|virtual|override|extern|sealed|data|open|create|CREATE)\s+)*+"
    r"(?:def|class|function|func|fun|fn|interface|struct|enum|trait|impl|module|namespace|type|record|object|"
    r"TABLE|VIEW|FUNCTION|table|view)\b|(?:export\s+)?(?:const|let|var)\s+\w+\s*=\s*(?:async\s*)?(?:function|\()|"
    r"[A-Za-z_][\w<>,*&:\[\] ]*+\([^;{]*+\{\s*+\Z"
)
_INTRODUCES = re.compile(r"@|#\[|//|/\*|\*|#(?!include|define)|--")
_CONTINUES = re.compile(r"[)\]}]|(?:else|elif|except|finally|catch|end|then|do)\b")


class _Line(NamedTuple):
    """A line that is not blank: where its text begins, that text, its depth, and whether a blank line precedes."""

    at: int
    bare: str
    depth: int
    gap: bool


def strengths(text: str) -> dict[int, float]:
    """Strength by place, places rising: definitions before gaps before lines, each weaker the deeper it is indented.

    Comments, decorators and attributes right before a definition belong to it; nothing cuts before a closing bracket.
    """
    found: dict[int, float] = {}
    lead: _Line | None = None
    for line in _lines(text):
        lead = lead if lead and not line.gap and lead.depth == line.depth else None
        defines = _DEFINES.match(line.bare) and not line.bare.startswith(("if", "for", "while", "switch", "return"))
        if defines:
            found[line.at] = GLUED
            found[(lead or line).at] = max(DEFINITION - 0.1 * line.depth, 0.5)
        elif lead or _CONTINUES.match(line.bare):
            found[line.at] = GLUED
        else:
            found[line.at] = max((GAP if line.gap else LINE) - 0.08 * line.depth, 0.1)
        introduces = _INTRODUCES.match(line.bare) and not defines
        lead = (lead or line) if introduces else None
    return {at: strength for at, strength in found.items() if 0 < at < len(text)}


def reads(media_type: str) -> bool:
    """Whether `media_type` is source code."""
    return media_type.split("/")[-1].removeprefix("x-").lower() in LANGUAGES


def _lines(text: str) -> Iterator[_Line]:
    gap, unit = False, 0
    for match in _LINE.finditer(text):
        bare = match[0].strip()
        if not bare:
            gap = True
            continue
        space = len(match[0]) - len(match[0].lstrip())
        width = len(match[0][:space].expandtabs(4))
        unit = min(unit, width) if unit and width > 1 else unit or (width if width > 1 else 0)
        yield _Line(match.start() + space, bare[:400], min(width // unit, 6) if unit else 0, gap)
        gap = False
