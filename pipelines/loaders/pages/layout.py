"""The text of a page from its pieces: lines, paragraphs, and tables whose columns are aligned."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

from fovea.pipelines.loaders.pages.order import regions
from fovea.pipelines.loaders.pages.piece import Piece, joined, rows, segments
from fovea.pipelines.loaders.writer import Writer

SENTENCE_END = re.compile(r"[.!?:;…。！？؟۔|][\"'”’»)\]]*$")

Row = list[Piece]


def page_text(words: Sequence[Piece]) -> str:
    """The text of one page: words in the order in which they were drawn, and blocks."""
    text = ""
    for region in regions(segments(words)):
        part = _region(rows(region))
        text += _between(text, part) + part
    return text


def _between(before: str, after: str) -> str:
    """A paragraph that goes on in the next column stays one."""
    if not before:
        return ""
    goes_on = after[:1].islower() and not SENTENCE_END.search(before[-8:])
    return "\n" if goes_on else "\n\n"


def _region(lines: Sequence[Row]) -> str:
    gaps = [b[0].top - a[0].bottom for a, b in pairwise(lines) if not (a[0].block or b[0].block)]
    usual = median(gaps) if gaps else 0.0
    parts: list[str] = []
    at = 0
    while at < len(lines):
        count, table = aligned(lines, at)
        if parts:
            parts.append("\n\n" if table or _apart(lines[at - 1], lines[at], usual) or _closed(parts) else "\n")
        parts.append(table or joined(lines[at]))
        at += count
    return "".join(parts)


def _closed(parts: Sequence[str]) -> bool:
    return parts[-1].startswith("| ") and "\n" in parts[-1]


def _apart(above: Row, below: Row, usual: float) -> bool:
    """Whether a paragraph ends between two lines: a wider gap than usual, another size, a block."""
    one, other = max(p.height for p in above), max(p.height for p in below)
    if above[0].block or below[0].block or max(one, other) > 1.15 * min(one, other):
        return True
    gap = min(p.top for p in below) - max(p.bottom for p in above)
    return gap > 0.4 * one + max(min(usual, one), -0.2 * one)


def aligned(lines: Sequence[Row], at: int) -> tuple[int, str]:
    """How many lines from `at` on make a table without rules, and the table; (1, "") when they make none.

    Every line has a piece in at least two columns, and no piece reaches over two of them; two columns need three lines.
    """
    columns = [(p.left, p.right) for p in lines[at]]
    taken = [lines[at]]
    if len(columns) < 2 or lines[at][0].left > lines[at][-1].left:
        return 1, ""
    for line in lines[at + 1 :]:
        if (wider := _widened(columns, line)) is None:
            break
        columns = wider
        taken.append(line)
    if len(taken) < (3 if len(columns) == 2 else 2) or not _cells(taken):
        return 1, ""
    table = Writer()
    table.table(_filled(columns, line) for line in taken)
    return len(taken), table.text.rstrip("\n")


def _filled(columns: Sequence[tuple[float, float]], line: Row) -> list[str]:
    cells: list[list[str]] = [[] for _ in columns]
    for piece in line:
        cells[_column(columns, piece)].append(piece.text)
    return [" ".join(cell) for cell in cells]


def _cells(taken: Sequence[Row]) -> bool:
    """Whether the pieces are cells: of more than two columns, or short; `Name: Kim` is a line."""
    if median(len(line) for line in taken) > 2:
        return True
    named = sum(line[0].text.endswith(":") for line in taken)
    return 2 * named < len(taken) and median(len(line[-1].text.split()) for line in taken) <= 4


def _column(columns: Sequence[tuple[float, float]], piece: Piece) -> int:
    return max(range(len(columns)), key=lambda n: min(columns[n][1], piece.right) - max(columns[n][0], piece.left))


def _widened(columns: Sequence[tuple[float, float]], line: Row) -> list[tuple[float, float]] | None:
    """The columns with the pieces of one more line in them, or None if that is no line of the table."""
    if len(line) < 2 or any(p.block for p in line) or len(line) > len(columns):
        return None
    wider = list(columns)
    places = range(len(line)) if len(line) == len(columns) else [_column(columns, p) for p in line]
    for n, piece in zip(places, line):
        wider[n] = (min(wider[n][0], piece.left), max(wider[n][1], piece.right))
    apart = all(a[1] < b[0] for a, b in pairwise(wider))
    return wider if apart and len(set(places)) == len(line) else None
