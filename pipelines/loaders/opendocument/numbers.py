"""Numbers that OpenDocument computes and does not write: of headings and of items (`2.`, `2.1`, `b)`, `iv`)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fovea.pipelines.loaders.opendocument.words import STYLE, TEXT

ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl"), (10, "x"),
         (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip


class Level(NamedTuple):
    """How one level of a style is numbered; `shows` levels are written, the last of them this one."""

    format: str
    before: str = ""
    after: str = ""
    shows: int = 1
    start: int = 1


@dataclass
class Numbering:
    """Levels of a style by their depth from 1, and the counters as the text goes by."""

    levels: dict[int, Level]
    counters: Counter[int] = field(default_factory=Counter)

    def next(self, depth: int, start: str | None = None) -> str:
        """The number of the next heading or item at `depth`, or an empty string where the level has none."""
        for deeper in [d for d in self.counters if d > depth]:
            del self.counters[deeper]
        level = self.levels.get(depth)
        if level is None:
            return ""
        first = level.start if depth not in self.counters else self.counters[depth] + 1
        self.counters[depth] = int(start) if start else first
        if not level.format:
            return ""
        shown = [
            digits(self.counters.get(d, 1), self.levels[d].format or "1")
            for d in range(max(1, depth - level.shows + 1), depth + 1)
            if d in self.levels and (self.levels[d].format or d == depth)
        ]
        return f"{level.before}{'.'.join(shown)}{level.after}".strip()

    def restart(self) -> None:
        """Begin again, as a new list of the same style does."""
        self.counters.clear()


def digits(number: int, form: str) -> str:
    """`number` in the form `1`, `a`, `A`, `i` or `I`."""
    if form in ("i", "I"):
        text = ""
        for value, letters in ROMAN:
            text += letters * (number // value)
            number %= value
        return text.upper() if form == "I" else text
    if form in ("a", "A"):
        text = ""
        while number > 0:
            number, rest = divmod(number - 1, 26)
            text = chr(ord(form) + rest) + text
        return text
    return str(number)


def numberings(*roots: Any) -> dict[str, Numbering]:
    """The numbering of every list style by name; that of headings is named `` (nothing)."""
    found: dict[str, Numbering] = {}
    for root in roots:
        for style in root.iter(f"{TEXT}list-style", f"{TEXT}outline-style"):
            name = "" if style.tag.endswith("outline-style") else style.get(f"{STYLE}name", "")
            levels = {int(level.get(f"{TEXT}level", "1")): _level(level) for level in style if _numbered(level)}
            found[name] = Numbering(levels)
    return found


def _numbered(level: Any) -> bool:
    return level.tag in (f"{TEXT}list-level-style-number", f"{TEXT}outline-level-style")


def _level(level: Any) -> Level:
    return Level(
        level.get(f"{STYLE}num-format", ""),
        level.get(f"{STYLE}num-prefix", ""),
        level.get(f"{STYLE}num-suffix", ""),
        int(level.get(f"{TEXT}display-levels", "1")),
        int(level.get(f"{TEXT}start-value", "1")),
    )
