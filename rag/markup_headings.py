"""Headings of plain-text markup: reStructuredText, AsciiDoc, Org, LaTeX.

These files are read character for character, so that a citation is a place in the file itself; what their programs
would do with them (includes, macros) is not done.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

RST, ASCIIDOC, ORG, LATEX = "text/x-rst", "text/asciidoc", "text/org", "text/x-tex"
_LINE = re.compile(r"[^\r\n]*+(?:\r\n|\r|\n|\Z)")
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1*[ \t]*\Z")
_SECTION = re.compile(r"(={1,6}|#{1,6})[ \t]+(\S.*?)(?:[ \t]+\1)?[ \t]*\Z")
_DELIMITER = re.compile(r"(-{4,}|\.{4,}|/{4,}|\+{4,}|`{3,})[^\s]*[ \t]*\Z")
_STARS = re.compile(
    r"(\*+)[ \t]+(?:(?:TODO|DONE|NEXT|WAITING)[ \t]+)?(?:\[#\w\][ \t]+)?(\S.*?)"
    r"(?:[ \t]+:[\w@#%:]+:)?[ \t]*\Z"
)
_BLOCK = re.compile(r"[ \t]*#\+(begin|end)_(\w+)", re.IGNORECASE)
_COMMAND = re.compile(
    r"(?<!\\)%[^\r\n]*|\\begin\{(verbatim\*?|lstlisting|minted|comment)\}"
    r"|\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?![A-Za-z])"
)
_OPENING = re.compile(r"\s*(?:\[[^\]]*\]\s*)?\{")
_BRACE = re.compile(r"(\\(?:part|chapter|(?:sub)*section|paragraph)\b|\n[ \t\r]*\n)|\\.|[{}]", re.DOTALL)
"""A brace, a character that is none for all its looks, or (group 1) what no heading holds."""
TEX_LEVELS = {"part": 1, "chapter": 1, "section": 2, "subsection": 3, "subsubsection": 4, "paragraph": 5}
LEVELS = 6
LONGEST = 1000
"""Characters that a heading of LaTeX may take, its options included."""


class Found(NamedTuple):
    """A heading at `[start, end)`, its level from 1 to 6, and its words."""

    start: int
    end: int
    level: int
    words: str


def markup_headings(text: str, media_type: str) -> Iterator[Found]:
    """The headings of a text of one of the types in `MARKUP`, in order; linear in its length."""
    return MARKUP[media_type](text)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    return ((match.start(), match[0].rstrip("\r\n")) for match in _LINE.finditer(text) if match[0])


def _rst(text: str) -> Iterator[Found]:
    """A line with one of punctuation below it, as long or longer, or one above and one below; a style is as deep as
    the order in which styles first come."""
    styles: list[str] = []
    before: tuple[int, str] = (0, "")
    above: tuple[int, str] = (0, "")
    for start, line in _lines(text):
        words, mark = before[1].strip(), _ADORNMENT.match(line)
        over = bool(above[1]) and _ADORNMENT.match(above[1]) is not None
        framed = over and above[1].rstrip() == line.rstrip()
        plain = not before[1][:1].isspace() and (not above[1].strip())
        wide = len(line.rstrip()) >= min(len(words), 4)
        if mark and words and not _ADORNMENT.match(before[1]) and wide and (framed or plain):
            style = mark[1] * (2 if framed else 1)
            if style not in styles:
                styles.append(style)
            first = above[0] if framed else before[0]
            yield Found(first, start + len(line), min(styles.index(style) + 1, LEVELS), _rst_words(words))
            above, before = (0, ""), (0, "")
        else:
            above, before = before, (start, line)


def _rst_words(words: str) -> str:
    words = re.sub(r":[\w.+-]+:`([^`<]*)(?:<[^`]*>)?`", r"\1", words)
    return " ".join(re.sub(r"[`*]+", "", words).split())


def _asciidoc(text: str) -> Iterator[Found]:
    """`= Title`, `== Section`, outside of listings, literals and comments."""
    inside = ""
    for start, line in _lines(text):
        if mark := _DELIMITER.match(line):
            inside = "" if inside == mark[1] else inside or mark[1]
        elif not inside and (found := _SECTION.match(line)):
            yield Found(start, start + len(line), len(found[1]), " ".join(re.sub(r"[`*_]+", "", found[2]).split()))


def _org(text: str) -> Iterator[Found]:
    """Lines that begin with stars, without their state, priority and tags; those in blocks are none."""
    inside = ""
    for start, line in _lines(text):
        if block := _BLOCK.match(line):
            kind = block[2].lower()
            inside = kind if block[1].lower() == "begin" and not inside else "" if inside == kind else inside
        elif not inside and (found := _STARS.match(line)):
            yield Found(start, start + len(line), min(len(found[1]), LEVELS), " ".join(found[2].split()))


def _latex(text: str) -> Iterator[Found]:
    r"""`\chapter{...}` to `\paragraph{...}`, outside of comments and listings."""
    at = 0
    while match := _COMMAND.search(text, at):
        at = match.end()
        if match[1]:
            closing = text.find(f"\\end{{{match[1]}}}", at)
            at = len(text) if closing < 0 else closing
        elif match[2] and (argument := _argument(text, at)):
            first, at = argument
            if words := _tex_words(text[first : at - 1]):
                yield Found(match.start(), at, TEX_LEVELS[match[2]], words)


def _argument(text: str, at: int) -> tuple[int, int] | None:
    """Where the words in the braces after `at` begin, and where the braces end; options before them are passed by."""
    opening = _OPENING.match(text, at, at + LONGEST)
    if not opening:
        return None
    depth = 1
    for brace in _BRACE.finditer(text, opening.end(), at + LONGEST):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if not depth:
            return opening.end(), brace.end()
        if brace[1]:
            return None
    return None


def _tex_words(words: str) -> str:
    words = re.sub(r"\\(?:label|footnote|thanks|index)\{[^{}]*\}", "", words)
    words = re.sub(r"\\([&%$#_{}])", r"\1", re.sub(r"\\[A-Za-z]+\*?[ \t]*", "", words.replace("~", " ")))
    return " ".join(re.sub(r"(?<!\\)[{}]", "", words).split())


MARKUP: dict[str, Callable[[str], Iterator[Found]]] = {RST: _rst, ASCIIDOC: _asciidoc, ORG: _org, LATEX: _latex}
