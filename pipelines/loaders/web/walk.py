"""From the tree of a page to the blocks of a writer: one walk without recursion, in time linear in the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bs4 import Tag
from bs4.element import CData, NavigableString, PreformattedString

from fovea.pipelines.loaders.formula import apart
from fovea.pipelines.loaders.numerals import formatted
from fovea.pipelines.loaders.scripts import END, SUB, SUP, resolved
from fovea.pipelines.loaders.web.formulas import linear
from fovea.pipelines.loaders.web.reading import form_value, is_a, left_out, stands_for
from fovea.pipelines.loaders.web.tables import Grid, lays_out, spans
from fovea.pipelines.loaders.writer import CellText, Writer

if TYPE_CHECKING:
    from bs4.element import PageElement

LEVELS = {f"h{level}": level for level in range(1, 7)}
LISTS = ("ul", "ol", "dl", "menu", "dir")
BLOCKS = frozenset([
    "address", "article", "aside", "blockquote", "body", "center", "details", "dialog", "div",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hgroup", "hr", "legend", "main",
    "noframes", "optgroup", "option", "p", "section", "summary", "tbody", "tfoot", "thead", "title",
])  # fmt: skip
MARKS = {
    **dict.fromkeys(["b", "strong"], "**"), **dict.fromkeys(["i", "em"], "*"),
    **dict.fromkeys(["code", "kbd", "samp"], "`"), **dict.fromkeys(["del", "s", "strike"], "~~"),
}  # fmt: skip
AROUND = {"sup": (SUP, END), "sub": (SUB, END), "q": ("“", "”"), "rt": ("(", ")")}
_FORMS = {
    "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman", "1": "decimal",
    "lower-alpha": "lowerLetter", "lower-latin": "lowerLetter", "upper-alpha": "upperLetter",
    "upper-latin": "upperLetter", "lower-roman": "lowerRoman", "upper-roman": "upperRoman",
    "decimal-leading-zero": "decimalZero", "lower-greek": "lowergreek", "cjk-decimal": "ideographDigital",
    "cjk-ideographic": "chineseCounting", "simp-chinese-informal": "chineseCounting",
}  # fmt: skip
_STYLED = re.compile(r"list-style(?:-type)?\s*:\s*([\w-]+)")
_RAISED = re.compile(r"vertical-align\s*:\s*(su(?:per|b))\b")
_SPACE = re.compile(r"[ \t\r\n\f]+")
_BREAKS = re.compile(r" *\n *")
_LANGUAGE = re.compile(r"lang(?:uage)?-([\w+#-]+)")


@dataclass
class _List:
    """A list that is open: how its items are numbered, and the item that is being read."""

    number: int = 1
    step: int = 0
    form: str = ""
    marker: str | None = None
    """What stands before the item; None once it is written."""
    texts: list[str] = field(default_factory=list)


@dataclass
class _State:
    """What is open in the page, or in a cell of it."""

    out: Writer | CellText
    text: list[str] = field(default_factory=list)
    lists: list[_List] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)
    """Where emphasis began in `text`."""
    heading: int = 0
    pre: int = 0


class Walk:
    """Reads a tree into `writer`; `left_out` counts what is not read, by kind."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.left_out: Counter[str] = Counter()
        self._now = _State(self.writer)
        self._outer: list[_State] = []
        self._tables: list[Grid | None] = []
        """Tables that are open; None for those that only lay out the page."""

    def read(self, root: Tag) -> str:
        """The text of all that is in `root`."""
        path, rests = [root], [iter(root.contents)]
        while path:
            one = next(rests[-1], None)
            if one is None:
                rests.pop()
                self._leave(path.pop())
            elif isinstance(one, Tag):
                if self._enters(one, path):
                    path.append(one)
                    rests.append(iter(one.contents))
            else:
                self._words(one)
        self._end_block()
        return self.writer.text.rstrip("\n")

    def _words(self, words: PageElement) -> None:
        if isinstance(words, NavigableString) and (
            not isinstance(words, PreformattedString) or isinstance(words, CData)
        ):
            self._now.text.append(str(words) if self._now.pre else _SPACE.sub(" ", str(words)))

    def _enters(self, element: Tag, above: Sequence[Tag]) -> bool:
        """Begin an element; whether what is in it is to be read."""
        name, now = stands_for(element), self._now
        reason = left_out(element, above)
        if reason is not None:
            self.left_out[reason] += bool(reason) and bool(element.get_text(strip=True))
            return False
        if name in ("input", "select", "math", "img"):
            now.text.append(apart("".join(now.text[-3:]), self._shown(element)))
            return False
        if name == "br":
            now.text.append("\n")
        elif around := _around(element):
            now.text.append(around[0])
        elif name in MARKS:
            self._begin_mark(name)
        elif now.heading:
            now.text.append(" " if name in BLOCKS else "")
        else:
            self._begin_block(element)
        return True

    def _begin_block(self, element: Tag) -> None:
        name, now = stands_for(element), self._now
        if name in LEVELS:
            self._end_block()
            now.heading = LEVELS[name]
        elif name in LISTS:
            self._end_block()
            now.lists.append(_listed(element))
        elif name in ("li", "dd"):
            self._begin_item(element)
        elif name == "dt":
            self._end_item()
        elif name in ("pre", "textarea", "listing"):
            self._end_block()
            now.pre += 1
        elif name == "table":
            self._end_block()
            self._tables.append(None if element.name == "table" and lays_out(element) else Grid())
        elif name in ("tr", "td", "th", "caption") or name in BLOCKS:
            self._begin_part(name)

    def _begin_part(self, name: str) -> None:
        """A row, a cell, or what is as wide as the page."""
        grid = self._tables[-1] if self._tables else None
        if grid is not None and name == "tr":
            grid.start_row()
        elif grid is not None and name in ("td", "th"):
            self._outer.append(self._now)
            self._now = _State(CellText())
        else:
            self._end_part()

    def _end_part(self) -> None:
        """The end of a paragraph, which in code is that of a line."""
        if not self._now.pre:
            self._end_text()
        elif self._now.text and not self._now.text[-1].endswith("\n"):
            self._now.text.append("\n")

    def _leave(self, element: Tag) -> None:
        name, now = stands_for(element), self._now
        if around := _around(element):
            now.text.append(around[1])
        elif name in MARKS:
            self._end_mark(name)
        elif name in LEVELS and now.heading:
            words, now.heading = self._taken(), 0
            now.out.heading(LEVELS[name], words)
        elif now.heading:
            now.text.append(" " if name in BLOCKS else "")
        elif name in LISTS and now.lists:
            self._end_block()
            now.lists.pop()
        elif name in ("li", "dd", "dt"):
            self._end_item()
        elif name in ("pre", "textarea", "listing") and now.pre:
            self._end_code(element)
        elif name == "table" and self._tables:
            self._end_table()
        elif name in ("td", "th") and self._tables and self._tables[-1] is not None and self._outer:
            self._end_cell(element, self._tables[-1])
        elif name in ("tr", "td", "th", "caption") or name in BLOCKS:
            self._end_part()

    def _begin_mark(self, name: str) -> None:
        now = self._now
        if MARKS[name] not in now.marks and not now.heading and not now.pre:
            now.marks[MARKS[name]] = len(now.text)
            now.text.append("")

    def _end_mark(self, name: str) -> None:
        """Put marks of emphasis close around the words that have it, unless a block has ended in between."""
        now, mark = self._now, MARKS[name]
        at = now.marks.pop(mark, None)
        if at is None or at >= len(now.text):
            return
        words = "".join(now.text[at:])
        if bare := words.strip():
            before, after = words[: len(words) - len(words.lstrip())], words[len(words.rstrip()) :]
            mark = mark if mark != "`" or "`" not in bare else ""
            words = f"{before}{mark}{bare}{mark}{after}"
        now.text[at:] = [words]

    def _begin_item(self, element: Tag) -> None:
        self._end_block()
        now = self._now
        if not now.lists:
            now.lists.append(_List())
        one = now.lists[-1]
        one.number = _integer(element.get("value"), one.number) if one.step else one.number
        one.marker = f"{formatted(one.number, _form(element) or one.form)}." if one.step else "-"
        one.number += one.step

    def _end_item(self) -> None:
        self._end_block()
        if self._now.lists:
            self._now.lists[-1].marker = None

    def _end_text(self) -> None:
        """The words so far are a paragraph, or a part of the item that is open."""
        words = self._taken()
        if not words:
            return
        if self._now.lists and self._now.lists[-1].marker is not None:
            self._now.lists[-1].texts.append(words)
        else:
            self._now.out.paragraph(words)

    def _end_block(self) -> None:
        """The words so far, and the item that is open, are written."""
        self._end_text()
        lists = self._now.lists
        if lists and lists[-1].marker is not None and lists[-1].texts:
            one = lists[-1]
            self._now.out.item("\n".join(one.texts), marker=one.marker or "-", depth=len(lists) - 1)
            one.texts, one.marker = [], None

    def _taken(self) -> str:
        """The words so far, white space made even."""
        words, self._now.text = resolved("".join(self._now.text)), []
        self._now.marks.clear()
        return _BREAKS.sub("\n", re.sub(r" +", " ", words)).strip()

    def _end_code(self, element: Tag) -> None:
        code, self._now.text = "".join(self._now.text), []
        self._now.pre -= 1
        if element.name == "textarea":
            self._now.text.append(code)
            self._end_text()
            return
        inner = element.find("code")
        classes = [*(element.get("class") or ()), *((inner.get("class") or ()) if isinstance(inner, Tag) else ())]
        found = next((match for one in classes if (match := _LANGUAGE.fullmatch(one))), None)
        self._now.out.code(code, found[1] if found else "")

    def _end_cell(self, element: Tag, grid: Grid) -> None:
        self._end_block()
        text, self._now = self._now.out.text, self._outer.pop()
        rows, columns = spans(element)
        grid.add(text, rows, columns, head=stands_for(element) == "th")

    def _end_table(self) -> None:
        self._end_block()
        grid = self._tables.pop()
        if grid is not None:
            rows, header = grid.finished()
            self._now.out.table(rows, header=header)

    def _shown(self, element: Tag) -> str:
        if stands_for(element) == "math":
            return linear(element)
        if element.name == "img":
            return _SPACE.sub(" ", str(element.get("alt") or ""))
        return f" {form_value(element)} "


def _listed(element: Tag) -> _List:
    """A list as its element says: `start`, `reversed`, `type`."""
    if element.name != "ol":
        return _List()
    backwards = element.has_attr("reversed")
    last = len(element.find_all("li", recursive=False)) if backwards else 1
    return _List(_integer(element.get("start"), last), -1 if backwards else 1, _form(element) or "decimal")


def _form(element: Tag) -> str:
    """How a list, or one item, is numbered, where it says so."""
    styled = _STYLED.search(str(element.get("style") or ""))
    return _FORMS.get(styled[1] if styled else str(element.get("type") or ""), "")


def _around(element: Tag) -> tuple[str, str] | None:
    """What stands around the words of an element; raised and lowered words may only look so by their style."""
    if element.name == "a" and is_a(element, "noteref"):
        return "[", "]"
    if element.get("role") == "tab":
        return " ", " "
    found = _RAISED.search(str(element.get("style") or "")) if element.name == "span" else None
    return AROUND.get({"super": "sup", "sub": "sub"}[found[1]] if found else element.name)


def _integer(value: object, otherwise: int) -> int:
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*-?\d{1,9}\s*", value) else otherwise
