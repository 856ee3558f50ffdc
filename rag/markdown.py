"""How Markdown is read, line by line: what is a heading, a fence, a comment, a row of a table, an item of a list.

One reading for all who look for structure in the text (headings, tables, segmenters), after CommonMark as far as
lines go: a fence may stand in an item or a quotation and ends with it; a backtick fence has no backtick behind it on
its line; what stands in a comment, in a `<pre>`, or in a `<div>` up to a blank line is HTML and holds no heading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MARKDOWN = ("text/markdown", "text/x-markdown")
FRONT_LIMIT = 1 << 16
"""Front matter is a few lines: beyond this many characters nobody looks for its end."""
_FRONT = re.compile(
    r"---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*\r?$|\+\+\+[ \t]*\r?\n(.*?)^\+\+\+[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_LINE = re.compile(r"([^\r\n]*+)(?:\r\n|\r|\n|\Z)")
_CONTAINERS = re.compile(r"[ \t]*+(?:(?:>[ \t]?+|(?:[-*+]|\d{1,9}+[.)])[ \t]++)[ \t]*+)*+")
_FENCE = re.compile(r"(`{3,}+)[^`]*+\Z|(~{3,}+)")
_HEADING = re.compile(r" {0,3}(#{1,6})(?![^ \t])")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)[ \t]*\Z")
_RULE = re.compile(r"(?:(?:-\s*+){3,}|(?:\*\s*+){3,}|(?:_\s*+){3,})\Z")
_ITEM = re.compile(r"(?:[-*+]|\d{1,9}+[.)])[ \t]")
_CLAUSE = re.compile(r"(?:\(?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,6})\)|\d{1,3}(?:\.\d{1,3})++\.?+)[ \t]")
"""The number of a clause, `2.2` or `(a)`, begins an item where no paragraph runs on."""
_HTML = re.compile(
    r"<(?:(!--)|(script|pre|style|textarea)(?=[\s>]|\Z)|/?(?:address|article|aside|blockquote|body|center|details|dialog"
    r"|dd|div|dl|dt|fieldset|figcaption|figure|footer|form|h[1-6]|header|hr|html|iframe|li|main|menu|nav|ol|p|section"
    r"|summary|table|tbody|td|tfoot|th|thead|tr|ul)(?=[\s/>]|\Z))",
    re.IGNORECASE,
)
_ENDS = {1: re.compile("-->"), 2: re.compile("</(?:script|pre|style|textarea)>", re.IGNORECASE)}


class FrontMatter(NamedTuple):
    """Front matter: its format (`yaml` between `---`, `toml` between `+++`), what is between its marks, and its end."""

    format: str
    inside: str
    end: int


class Line(NamedTuple):
    """A line that is not blank. It begins at `start`, its text at `at`; `end` is behind its last character and `next`
    behind its line ending. `gap`: whether a blank line precedes. `level` is of a heading, or of an item by indentation.

    `kind` is `heading`, `underline` (of the heading on the line before), `open`, `code`, `close` (of a fence), `html`,
    `rule`, `row`, `item` or `text`.
    """

    start: int
    at: int
    end: int
    next: int
    kind: str
    level: int
    gap: bool


@dataclass(slots=True)
class _Reading:
    """What earlier lines have opened."""

    fence: str = ""
    quoted: bool = False
    """Whether the fence stands in a quotation."""
    column: int = 0
    """Where the text of the item begins in which the fence stands."""
    html: re.Pattern[str] | None = None
    """What ends the HTML that is open."""
    block: bool = False
    """Whether HTML is open that a blank line ends."""
    listed: int = 0
    """Where the text of the latest item begins; 0 outside lists."""
    last: str = ""
    """The kind of the line before, and whether it begins a paragraph."""
    alone: bool = False


def front_matter(text: str) -> FrontMatter | None:
    """Front matter at the beginning of a text, if there is any."""
    found = _FRONT.match(text, 0, FRONT_LIMIT)
    if not found:
        return None
    return FrontMatter("toml" if found[1] is None else "yaml", found[1] if found[2] is None else found[2], found.end())


def body(text: str) -> int:
    """Where Markdown begins behind its front matter."""
    front = front_matter(text)
    return front.end if front else 0


def lines(text: str) -> Iterator[Line]:
    """The lines of Markdown that are not blank, front matter left out. Linear in its length."""
    state, gap = _Reading(), True
    for match in _LINE.finditer(text, body(text)):
        line = match[1]
        bare = line.strip()
        if not bare:
            gap, state.block = True, False
            continue
        if gap and not line[0].isspace():
            state.listed = 0
        kind, level = _open(line, bare, state) or _kind(line, bare, state, gap)
        first = gap or state.last not in ("text", "item", "row")
        state.alone = kind == "text" and first and bare[0] != ">" and not _indented(line)
        state.last = kind
        at = match.start() + len(line) - len(line.lstrip())
        yield Line(match.start(), at, match.end(1), match.end(), kind, level, gap)
        gap = False


def _open(line: str, bare: str, state: _Reading) -> tuple[str, int] | None:
    """What a line is inside a fence or HTML that earlier lines opened; None outside, and where they end before it."""
    if state.html or state.block:
        state.html = None if state.html and state.html.search(line) else state.html
        return "html", 0
    if not state.fence:
        return None
    inner = bare.lstrip("> \t") if state.quoted else bare
    if inner.startswith(state.fence) and not inner.strip(state.fence[0]):
        state.fence = ""
        return "close", 0
    if (state.quoted and bare[0] != ">") or _indent(line) < state.column:
        state.fence = ""  # The quotation or the item has ended, and the fence with it.
        return None
    return "code", 0


def _kind(line: str, bare: str, state: _Reading, gap: bool) -> tuple[str, int]:
    """What a line is, and its level, where nothing is open; what it opens is put into `state`."""
    if bare[0].isalpha() and ")" not in bare[:7]:  # Most lines, and none of what follows begins so.
        return "text", 0
    inside = _CONTAINERS.match(line)
    at = inside.end() if inside else 0
    if (state.listed or not _indented(line)) and (opened := _opened(line, at, state)):
        return opened, 0
    if heading := _HEADING.match(line):
        return "heading", len(heading[1])
    if state.alone and not gap and _UNDERLINE.match(line):
        return "underline", 1 if bare[0] == "=" else 2
    if _RULE.match(bare):
        return "rule", 0
    if bare[0] == "|":
        return "row", 0
    if _ITEM.match(bare):
        state.listed = _indent(line) + len(line[:at].lstrip())
        return "item", _indent(line) // 2
    if (gap or state.last != "text") and _CLAUSE.match(bare):
        return "item", _indent(line) // 2
    return "text", 0


def _opened(line: str, at: int, state: _Reading) -> str:
    """`open` or `html` if a fence or HTML begins at `at`, behind the marks of items and quotations; else nothing."""
    before = line[:at]
    if fence := _FENCE.match(line, at):
        state.fence, state.quoted = fence[1] or fence[2], ">" in before
        marked = before.strip() and not state.quoted
        state.column = len(before) if marked else state.listed if _indent(line) >= state.listed else 0
        return "open"
    if html := _HTML.match(line, at):
        ends = _ENDS.get(html.lastindex or 0)
        state.html = ends if ends and not ends.search(line, html.end()) else None
        state.block = ends is None
        return "html"
    return ""


def _indent(line: str) -> int:
    """Columns before the text of a line."""
    return len(line[: len(line) - len(line.lstrip())].expandtabs(4))


def _indented(line: str) -> bool:
    """Whether a line is so far to the right that it is code, outside lists."""
    return line[0] in " \t" and _indent(line) > 3
