"""Headings of a document, and which of them stand above a place of it.

Markdown is read as its authors write it, `# so` or underlined, front matter and fenced code left out; HTML by its
`<h1>` to `<h6>`; reStructuredText, AsciiDoc, Org and LaTeX by `fovea.rag.markup_headings`. (Loaders make Markdown of
web pages and office files.) Other texts have no headings that could be told from short lines.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import unescape

from fovea.rag.markup_headings import MARKUP, markup_headings

MARKDOWN = ("text/markdown", "text/x-markdown")
HTML = ("text/html", "application/xhtml+xml")
FRONT = re.compile(r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
"""Front matter at the beginning of a text; group 1 is what is between its marks."""
FRONT_LIMIT = 1 << 16
"""Front matter is a few lines: beyond this many characters nobody looks for its end."""
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?![^ \t])")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\Z")
_NO_PARAGRAPH = re.compile(r" {0,3}(?:[-*+>|]|\d{1,9}[.)])|    |\t")
"""What the line that is underlined does not begin with."""
_ELEMENT = re.compile(r"<!--|<(/?)(?:h([1-6])|(script|style))\b[^<>]*+>", re.IGNORECASE)
_ENDS = {
    "": re.compile("-->"),
    "script": re.compile(r"</script\b[^<>]*+>", re.IGNORECASE),
    "style": re.compile(r"</style\b[^<>]*+>", re.IGNORECASE),
}
_TAG = re.compile(r"<[^<>]*+>")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of `level` 1 (highest) to 6 at `[start, end)` of a text, marks included, and its words; `above` is the
    nearest heading of a higher level before it.
    """

    start: int
    end: int
    level: int
    words: str
    above: Heading | None = None


def headings(text: str, media_type: str) -> list[Heading]:
    """The headings of a text in order; linear in its length."""
    found: list[Heading] = []
    above: Heading | None = None
    for heading in _own(text, media_type):
        while above and above.level >= heading.level:
            above = above.above
        found.append(above := replace(heading, above=above))
    return found


def _own(text: str, media_type: str) -> Iterator[Heading]:
    if media_type in MARKUP:
        return (Heading(*found) for found in markup_headings(text, media_type))
    return _markdown(text) if media_type in MARKDOWN else _html(text) if media_type in HTML else iter(())


def first_heading(text: str) -> str:
    """The words of the first heading of Markdown, or an empty string."""
    return next((heading.words for heading in _markdown(text)), "")


def body(text: str, media_type: str) -> int:
    """Where a text begins, front matter of Markdown left out."""
    front = FRONT.match(text, 0, FRONT_LIMIT) if media_type in MARKDOWN else None
    return front.end() if front else 0


def trail(found: Sequence[Heading], start: int, end: int, text: str) -> list[Heading]:
    """The headings above what `[start, end)` of the text says, highest first; `found` are all headings of the text.

    A heading at the head of the range stands above what follows it there, and so do its betters; it is left out
    itself, since the range has it.
    """
    at, here = start, bisect_right(found, start - 1, key=lambda h: h.start)
    while here < len(found) and not text[at : found[here].start].strip() and found[here].start < end:
        at, here = found[here].end, here + 1
    above: list[Heading] = []
    heading = found[here - 1] if here else None
    while heading:
        above.append(heading)
        heading = heading.above
    return [heading for heading in reversed(above) if heading.start < start]


def _markdown(text: str) -> Iterator[Heading]:
    fence, before = "", None  # The line before, where it could be underlined: the only one of its paragraph.
    after_blank = True
    for match in _LINE.finditer(text, body(text, "text/markdown")):
        line, start = match[0].rstrip("\r\n"), match.start()
        candidate, before = before, None
        if mark := _FENCE.match(line):
            closes = fence and mark[1].startswith(fence) and not line.strip().strip(fence[0])
            fence = "" if closes else fence or mark[1]
        elif not fence and (atx := _ATX.match(line)):
            if words := _plain(_unclosed(line[atx.end() :].strip())):
                yield Heading(start, start + len(line), len(atx[1]), words)
        elif not fence and candidate is not None and (mark := _UNDERLINE.match(line)):
            if words := _plain(text[candidate:start]):
                yield Heading(candidate, start + len(line), 1 if "=" in mark[1] else 2, words)
        elif not fence and line.strip() and after_blank and not _NO_PARAGRAPH.match(line):
            before = start
        after_blank = not line.strip() or (not fence and _ATX.match(line) is not None)


def _html(text: str) -> Iterator[Heading]:
    at, level, start, inside = 0, "", 0, 0
    while match := _ELEMENT.search(text, at):
        at = match.end()
        if match[3] or not match[2]:  # A comment, or what no reader sees.
            closing = None if match[1] else _ENDS[(match[3] or "").lower()].search(text, at)
            at = closing.end() if closing else at if match[1] else len(text)
        elif not match[1]:
            level, start, inside = match[2], match.start(), match.end()
        elif match[2] == level:
            if words := " ".join(unescape(_TAG.sub(" ", text[inside : match.start()])).split()):
                yield Heading(start, at, int(level), words)
            level = ""


def _unclosed(words: str) -> str:
    """The words of a `# heading #` without the marks that close it."""
    bare = words.rstrip("#")
    return bare.rstrip() if not bare or bare[-1] in " \t" else words


def _plain(words: str) -> str:
    """A heading's words without the marks of emphasis, code and links."""
    words = re.sub(r"!?\[([^\[\]]*+)\]\([^()\s]*+\)", r"\1", words)
    return " ".join(re.sub(r"[*`]+", "", words).split())
