"""The numbers of list items, clauses and headings: Word stores none of them, they are counted from `numbering.xml`."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from fovea.pipelines.loaders.numerals import formatted
from fovea.pipelines.loaders.word.package import child, kind, on, value
from fovea.pipelines.loaders.word.styles import Styles, left_indentation

LEVELS = 9
_PLACE = re.compile(r"%([1-9])")


@dataclass(frozen=True)
class Level:
    """One level of a list: the form of its number, the text around it, where it starts and after which level again."""

    format: str = "decimal"
    text: str = ""
    start: int = 1
    restart: int | None = None
    legal: bool = False
    indentation: int | None = None
    style: str = ""


@dataclass
class _List:
    """A list in the document: its levels, and the counters it shares with others of the same definition."""

    levels: dict[int, Level]
    counters: dict[int, int]
    overrides: dict[int, int] = field(default_factory=dict)
    """Levels that this list starts at a number of its own, when it first comes to them."""


class Numbering:
    """Counts as it is asked: `marker` once for each numbered paragraph, in the order of the document."""

    def __init__(self, root: Any, styles: Styles) -> None:
        parts = [] if root is None else list(root)
        abstract = {value(one, "abstractNumId"): one for one in parts if kind(one) == "w:abstractNum"}
        instances = {value(one, "numId"): one for one in parts if kind(one) == "w:num"}
        counters: dict[str, dict[int, int]] = defaultdict(dict)
        self._lists: dict[str, _List] = {}
        for number, one in instances.items():
            name = _linked(value(child(one, "w:abstractNumId")), abstract, instances, styles)
            levels = _levels(abstract.get(name))
            overrides = {}
            for override in (o for o in one if kind(o) == "w:lvlOverride"):
                at = int(value(override, "ilvl", default="0"))
                if (level := child(override, "w:lvl")) is not None:
                    levels[at] = _level(level)
                if start := value(child(override, "w:startOverride")):
                    overrides[at] = int(start)
            self._lists[number] = _List(levels, counters[name], overrides)

    def level(self, number: str, level: int | None, style: str) -> int:
        """The level said, else the one that the list gives to the style, else the first."""
        if level is not None:
            return level
        found = self._lists.get(number)
        return next((at for at, one in found.levels.items() if style and one.style == style), 0) if found else 0

    def indentation(self, number: str, level: int) -> int | None:
        """How far a level is set to the right, in twentieths of a point; None where the list does not say."""
        found = self._lists.get(number)
        return found.levels[level].indentation if found and level in found.levels else None

    def marker(self, number: str, level: int) -> str:
        """What stands before the next paragraph of a list: `2.2`, `(a)`, `-` for a bullet, "" for nothing."""
        found = self._lists.get(number)
        if found is None or level not in found.levels:
            return ""
        self._count(found, level)
        one = found.levels[level]
        if one.format == "bullet":
            return "-"
        if one.format == "none" and not _PLACE.search(one.text):
            return " ".join(one.text.split())
        written = _PLACE.sub(lambda place: self._number(found, int(place[1]) - 1, one.legal), one.text)
        return " ".join(written.split())

    def _count(self, found: _List, level: int) -> None:
        counters = found.counters
        if level in found.overrides:
            counters[level] = found.overrides.pop(level)
        else:
            counters[level] = counters[level] + 1 if level in counters else found.levels[level].start
        for deeper in [at for at in counters if at > level]:
            restart = found.levels[deeper].restart if deeper in found.levels else None
            if restart is None or (restart and level < restart):
                del counters[deeper]

    def _number(self, found: _List, level: int, legal: bool) -> str:
        one = found.levels.get(level, Level())
        number = found.counters.get(level, one.start)
        return formatted(number, "decimal" if legal else one.format)


def _linked(name: str, abstract: dict[str, Any], instances: dict[str, Any], styles: Styles) -> str:
    """The definition that `name` stands for: some only name a style, which names a list."""
    for _ in range(LEVELS):
        style = value(child(abstract.get(name), "w:numStyleLink"))
        number, _, _ = styles.numbered(style) if style else ("", None, "")
        if number not in instances:
            return name
        name = value(child(instances[number], "w:abstractNumId"))
    return name


def _levels(definition: Any) -> dict[int, Level]:
    levels = [] if definition is None else [one for one in definition if kind(one) == "w:lvl"]
    return {int(value(one, "ilvl", default="0")): _level(one) for one in levels}


def _form(level: Any) -> str:
    """How a level counts; a form of the author's own is named by how it writes 1."""
    written = child(level, "mc:AlternateContent", "mc:Choice", "w:numFmt")
    if value(written) == "custom":
        return value(written, "format").split(",")[0].strip()
    return value(child(level, "w:numFmt"), default="decimal")


def _level(one: Any) -> Level:
    start, restart = value(child(one, "w:start"), default="1"), value(child(one, "w:lvlRestart"))
    return Level(
        format=_form(one),
        text=value(child(one, "w:lvlText")),
        start=int(start),
        restart=int(restart) if restart else None,
        legal=on(child(one, "w:isLgl")),
        indentation=left_indentation(child(one, "w:pPr", "w:ind")),
        style=value(child(one, "w:pStyle")),
    )
