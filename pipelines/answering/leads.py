"""What an item of a list or a row of a table stands under: headings, the sentence before the list, the items above.

"Sharing a password" says one thing below "OK" and another below "Not OK".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from fovea.pipelines.answering.passages import bare
from fovea.rag.markdown import Line, lines
from fovea.rag.sentences import sentences
from fovea.rag.types import Span

LONGEST = 120
"""Characters of a line that is said before the items below it; a longer one is a paragraph of its own."""
STOPS = ".!?…。！？"
HEADINGS = 2
"""How many headings, nearest last; the title of the document only where there is no other."""


class Leads:
    """The lines of one text, and what each item and row of it stands under. Linear in the text, once."""

    def __init__(self, text: str) -> None:
        self.lines: list[Line] = []
        self.above: list[tuple[Span, ...]] = []
        for line, above in _read(text):
            self.lines.append(line)
            self.above.append(above)
        self._starts = [line.start for line in self.lines]

    def of(self, offset: int) -> tuple[Line | None, tuple[Span, ...]]:
        """The line that holds `offset`, and what it stands under, highest first."""
        n = bisect_right(self._starts, offset) - 1
        return (self.lines[n], self.above[n]) if n >= 0 else (None, ())


@dataclass(slots=True)
class _Open:
    """What stands above the line that is read."""

    text: str
    headings: list[tuple[int, Span]] = field(default_factory=list)
    paragraph: Span | None = None
    unread: tuple[int, int] | None = None
    """The line of text last seen: only where items or rows follow is its last sentence looked for."""
    items: list[tuple[int, Span]] = field(default_factory=list)

    def head(self, level: int, start: int, end: int) -> None:
        while self.headings and self.headings[-1][0] >= level:
            self.headings.pop()
        self.headings.append((level, bare(self.text, start, end)))
        self.begin()

    def begin(self, line: tuple[int, int] | None = None) -> None:
        """What comes below a line of text, a heading or a rule stands under nothing above it but headings."""
        self.paragraph, self.unread, self.items = None, line, []

    def leads(self, items: list[tuple[int, Span]]) -> tuple[Span, ...]:
        if self.unread:
            self.paragraph, self.unread = _introduction(self.text, *self.unread), None
        near = [h for level, h in self.headings if level > 1] or [h for _, h in self.headings]
        spans = [*near[-HEADINGS:], *([self.paragraph] if self.paragraph else []), *(span for _, span in items)]
        return tuple(span for span in spans if 0 < len(span) <= LONGEST)


def _read(text: str) -> Iterator[tuple[Line, tuple[Span, ...]]]:
    open_, before = _Open(text), None
    for line in lines(text):
        above: tuple[Span, ...] = ()
        if line.kind == "heading":
            open_.head(line.level, line.at, line.end)
        elif line.kind == "underline" and before:
            open_.head(line.level, before.at, before.end)
        elif line.kind == "item":
            while open_.items and open_.items[-1][0] >= line.level:
                open_.items.pop()
            above = open_.leads(open_.items)
            open_.items.append((line.level, bare(text, line.at, line.end)))
        elif line.kind == "row":
            above = open_.leads([])
        elif line.kind == "text" and open_.items and (not line.gap or line.at > line.start):
            above = open_.leads(open_.items[:-1])
        elif line.kind == "text":
            open_.begin((line.at, line.end))
        elif line.kind == "rule":
            open_.begin()
        yield line, above
        before = line


def _introduction(text: str, start: int, end: int) -> Span | None:
    """The last sentence of a line, if it has no full stop: what follows it completes it."""
    start = max(start, end - 4 * LONGEST)
    if text[start:end].rstrip("*_ ")[-1:] in STOPS or not (found := sentences(text[start:end])):
        return None
    return bare(text, start + found[-1].start, start + found[-1].end)
