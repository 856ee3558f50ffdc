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

from fovea.rag.inline import label, plain
from fovea.rag.markdown import MARKDOWN, lines
from fovea.rag.markdown import body as markdown_body
from fovea.rag.markup_headings import MARKUP, markup_headings

HTML = ("text/html", "application/xhtml+xml")
_DEFINITION = re.compile(r"^ {0,3}\[([^\[\]]++)\]:", re.MULTILINE)
"""Where links that are written `[words][name]` lead."""
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
    return markdown_body(text) if media_type in MARKDOWN else 0


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
    defined: frozenset[str] | None = None
    before = None
    for line in lines(text):
        start, words = line.start, ""
        if line.kind == "heading":
            words = _unclosed(text[line.at + line.level : line.end].strip())
        elif line.kind == "underline" and before:
            start, words = before.start, text[before.at : before.end]
        if "[" in words and defined is None:
            defined = frozenset(label(name[1]) for name in _DEFINITION.finditer(text))
        if words and (words := plain(words, defined or ())):
            yield Heading(start, line.end, line.level, words)
        before = line


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
