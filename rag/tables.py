"""Tables of a text, and the header row that stands above a part of one.

A chunk that holds rows without their header says "9.50" of nobody knows what. Its span stays as it is; what is embedded
and indexed of it is the header row before its text.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fovea.rag.markdown import MARKDOWN, Line, lines
from fovea.rag.types import Chunk, Document, Span

_DELIMITER = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*+\|?")
_IN_TABLE = ("row", "text")
LONGEST = 500
"""Characters of a header row that is carried; a longer one would drown the rows."""


@dataclass(frozen=True, slots=True)
class Table:
    """A pipe table: where its header row is, and where its rows are, from the first to the end of the last."""

    header: Span
    rows: Span


def tables(text: str, media_type: str) -> list[Table]:
    """The pipe tables of Markdown in order; other texts have none. Linear in the length of the text."""
    return list(_tables(text)) if media_type in MARKDOWN and "|" in text else []


def header_above(found: Sequence[Table], start: int, end: int, text: str) -> str:
    """The header row of the table whose rows `[start, end)` holds without it; "" if there is none, or it is empty."""
    here = bisect_right(found, start, key=lambda table: table.header.start) - 1
    if here < 0 or not text[start:end].strip():
        return ""
    table = found[here]
    if not (table.header.end <= start < table.rows.end and table.rows.start < end):
        return ""
    header = text[table.header.start : table.header.end].strip()
    return header if len(header) <= LONGEST and any(map(str.isalnum, header)) else ""


def headers(document: Document, chunks: Sequence[Chunk]) -> list[str]:
    """The header row that is read before each chunk; "" for most."""
    found = tables(document.text, document.media_type)
    return [header_above(found, chunk.start, chunk.end, document.text) if found else "" for chunk in chunks]


def with_headers(document: Document, chunks: Sequence[Chunk]) -> list[str]:
    """What is embedded of each chunk: its text, behind the header row of the table that it goes on with."""
    return [f"{header}\n{c.text}" if header else c.text for header, c in zip(headers(document, chunks), chunks)]


def _tables(text: str) -> Iterator[Table]:
    header: Line | None = None
    start = end = 0
    before: Line | None = None
    for line in lines(text):
        inside = line.kind in _IN_TABLE and not line.gap and "|" in text[line.at : line.end]
        if header and inside:
            start, end = start or line.at, line.end
        else:
            if header and end:
                yield Table(Span(header.at, header.end), Span(start, end))
            header, start, end = None, 0, 0
            if inside and before and _heads(before, line, text):
                header = before
        before = line
    if header and end:
        yield Table(Span(header.at, header.end), Span(start, end))


def _heads(before: Line, line: Line, text: str) -> bool:
    """Whether `line` parts the header row `before` it from the rows of a table."""
    return (
        before.kind in _IN_TABLE
        and "|" in text[before.at : before.end]
        and _DELIMITER.fullmatch(text[line.at : line.end].rstrip()) is not None
    )
