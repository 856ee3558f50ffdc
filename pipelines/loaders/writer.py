"""One writer of Markdown for every loader that reads a tree: blocks go in, text and page starts come out.

What reads as structure is written as structure by its own call alone: a paragraph whose line happens to begin with `#`,
a fence or a `|` is escaped with a backslash, so that headings and tables found in the text (`fovea.rag.headings`) are
those of the document and no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from fovea.rag.inline import plain

_STRUCTURE = re.compile(
    r"^([ \t]*(?:(?:>[ \t]*|(?:[-*+]|\d{1,9}[.)])[ \t]+))*)"
    r"(#{1,6}(?![^ \t\r\n])|`{3}|~{3}|\||</?[a-zA-Z]|<!--|(?:=+|-+|\++)[ \t]*$)",
    re.MULTILINE,
)
"""Where a line, or what an item or a quotation holds, would be read as structure."""
_CLOSING = re.compile(r"(^|\s)(#+)$")
_MARKS = re.compile(r"([\\`*_\[\]<>&~{])")
LEVELS = 6
SPARSE = 50
"""How many times as many cells as were given a table may have, once short rows are filled up."""
DEEPEST = 40
"""Levels of a list that are told apart: deeper items are set in as far as these, or indents would outgrow the text."""


class Writer:
    """Collects blocks; `text` is all of them, parted by blank lines, and `pages` the offset at which each page starts.

    Items of one list, at any depth, follow each other line by line.
    """

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._at = 0
        self._listing = False
        self._pages: list[int] = []

    @property
    def text(self) -> str:
        """Everything written, ended by one newline; empty when nothing was."""
        return "".join(self._parts) + "\n" if self._parts else ""

    @property
    def pages(self) -> tuple[int, ...]:
        """Where each page starts in `text`; empty for a document whose pages were never named."""
        return tuple(min(start, self._at) for start in self._pages)

    def page(self) -> None:
        """The next block stands on a new page (call it before the first block too)."""
        self._pages.append(self._at and self._at + 2)  # A blank line parts it from the page before.
        self._listing = False

    def heading(self, level: int, words: str) -> None:
        """A heading; levels below 1 and above 6 become these. Marks that would be read as emphasis, code, links or HTML
        are escaped, where there are any."""
        if words := line(words):
            written = words if plain(words) == words else _MARKS.sub(r"\\\1", words)
            written = _CLOSING.sub(r"\1\\\2", written)
            self._block(f"{'#' * min(max(level, 1), LEVELS)} {written}")

    def paragraph(self, text: str) -> None:
        """Running text; its line breaks and indentation stay, and what would read as structure is escaped."""
        if (text := text.strip("\r\n")).strip():
            self._block(escape(text))

    def item(self, text: str, *, marker: str = "-", depth: int = 0) -> None:
        """An item of a list: `marker` is `-`, `3.`, `2.2` or `(a)`; further lines are set below the first. An item
        without words is left out, unless it is numbered."""
        if (text := text.strip()) or marker != "-":
            indent = "  " * min(depth, DEEPEST)
            rest = f"\n{indent}{' ' * (len(marker) + 1)}"
            self._block(f"{indent}{marker} {escape(text)}".rstrip().replace("\n", rest), item=True)

    def code(self, text: str, language: str = "") -> None:
        """Code, kept character for character between fences longer than any in it."""
        if text.strip():
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
            self._block(f"{fence}{language}\n{text.strip(chr(10))}\n{fence}")

    def table(self, rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
        """A pipe table; rows without any words are left out, short ones filled up, unless that would make most of the
        table. Without `header` it gets an empty one, as Markdown knows no table that has none."""
        cells = [[cell(words) for words in row] for row in rows]
        cells = [row for row in cells if any(row)]
        if not cells:
            return
        width = max(map(len, cells))
        head, *below = cells if header else [[], *cells]
        filled = width if width * len(cells) <= SPARSE * sum(map(len, cells)) else 0
        lines = [_row(head, width), f"|{' --- |' * width}", *(_row(row, filled) for row in below)]
        self._block("\n".join(lines))

    def _block(self, text: str, *, item: bool = False) -> None:
        gap = ("\n" if item and self._listing else "\n\n") if self._parts else ""
        self._parts.append(gap + text)
        self._at += len(gap) + len(text)
        self._listing = item


class CellText:
    """Takes the blocks that a `Writer` takes and is one line of them: what stands in a cell, or in a note."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """Everything written, on one line."""
        return line(" ".join(self._parts))

    def heading(self, level: int, words: str) -> None:
        """The words alone."""
        self._parts.append(words)

    def paragraph(self, text: str) -> None:
        """The text alone."""
        self._parts.append(text)

    def item(self, text: str, *, marker: str = "-", depth: int = 0) -> None:
        """The item behind its marker."""
        self._parts.append(f"{marker} {text}")

    def code(self, text: str, language: str = "") -> None:
        """The code, its line breaks lost."""
        self._parts.append(text)

    def table(self, rows: Iterable[Sequence[str]], *, header: bool = True) -> None:
        """Rows parted by semicolons, cells by commas."""
        lines = (", ".join(filter(None, map(line, row))) for row in rows)
        self._parts.append("; ".join(filter(None, lines)))


def _row(cells: Sequence[str], width: int) -> str:
    return f"| {' | '.join([*cells, *[''] * (width - len(cells))])} |"


def line(text: str) -> str:
    """All of `text` on one line, white space made even."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """`text` as the cell of a pipe table."""
    return line(text).replace("|", "\\|")


def escape(text: str) -> str:
    """Running text in which no line reads as a heading, a fence, a table, HTML or an underline."""
    return _STRUCTURE.sub(r"\1\\\2", text)
