"""What pdfium knows of a page: words with their boxes, and ruling lines. Not thread-safe: hold LOCK."""

from __future__ import annotations

import ctypes
import math
import re
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from fovea.pipelines.loaders.pages.grid import Rule
from fovea.pipelines.loaders.pages.piece import Piece

LOCK = threading.RLock()
"""pdfium keeps state of its own: one thread at a time."""
HYPHEN = "\x02"
"""What stands for a hyphen at the end of a line, after which the word goes on."""
MOST_RULES = 5000
"""A page with more ruling lines is a drawing."""
MOST_NESTED = 3
_WORD = re.compile(r"[^\s\x00-\x01\x02\ufffe]+[\x02\ufffe]?|[\x02\ufffe]")
_PRESENTED = re.compile(r"[\ufb00-\ufb4f\ufb50-\ufdff\ufe70-\ufefc]+")
"""Ligatures and letters in the form they have inside a word."""

Turn = Callable[[float, float], tuple[float, float]]
"""From pdfium's coordinates to those in which most text of the page is horizontal and y grows downwards."""


def words(raw: Any, textpage: Any) -> tuple[list[Piece], list[str], Turn]:
    """The words of a page in the order in which they were drawn; lines written at another angle than most; the turn
    that makes most of them horizontal. Linear in the page's characters."""
    text = _text(raw, textpage)
    lines = [match.span() for match in re.finditer(r"[^\r\n]+", text)]
    angles = [round(math.degrees(raw.FPDFText_GetCharAngle(textpage, start))) % 360 for start, _ in lines]
    sizes = Counter[int]()
    for angle, (start, stop) in zip(angles, lines):
        sizes[angle] += stop - start
    main = sizes.most_common(1)[0][0] if sizes else 0
    turn = turned(-main)
    straight: list[Piece] = []
    askew: list[str] = []
    for run, (angle, (start, stop)) in enumerate(zip(angles, lines)):
        if min((angle - main) % 360, (main - angle) % 360) > 5:
            askew.append(_plain(text[start:stop]))
            continue
        for match in _WORD.finditer(text, start, stop):
            straight.append(_piece(raw, textpage, match, run, len(straight), turn))
    return straight, [line for line in askew if line.strip()], turn


def turned(degrees: int) -> Turn:
    """The turn that makes text that rises at this angle (counterclockwise; pdfium counts clockwise) horizontal."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return lambda x, y: (x * cos + y * sin, x * sin - y * cos)


def box(turn: Turn, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
    """A box of pdfium's (left, bottom, right, top) as (left, top, right, bottom) after the turn."""
    (a, b), (c, d) = turn(left, bottom), turn(right, top)
    return min(a, c), min(b, d), max(a, c), max(b, d)


def _text(raw: Any, textpage: Any) -> str:
    """The page's characters, one for each of pdfium's: those beyond the basic plane may be two halves."""
    count = raw.FPDFText_CountChars(textpage)
    if count <= 0:
        return ""
    buffer = (ctypes.c_ushort * (2 * count + 1))()
    written = raw.FPDFText_GetText(textpage, 0, count, buffer) - 1
    if written == count:
        return "".join(map(chr, buffer[:count]))
    return "".join(chr(min(raw.FPDFText_GetUnicode(textpage, n), 0x10FFFF)) for n in range(count))


def _plain(text: str) -> str:
    """Letters as they are written alone, halves of characters joined, the hyphen's mark made one."""
    if text.isascii():
        return text
    text = _PRESENTED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text).replace("\ufffe", HYPHEN)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _piece(raw: Any, textpage: Any, match: re.Match[str], run: int, order: int, turn: Turn) -> Piece:
    ends = [_char_box(raw, textpage, n, turn) for n in {match.start(), match.end() - 1}]
    if match.end() - match.start() > 1 and match[0][-1] in "\x02\ufffe":
        ends.append(_char_box(raw, textpage, match.end() - 2, turn))
    lefts, tops, rights, bottoms = zip(*ends)
    return Piece(_plain(match[0]), min(lefts), min(tops), max(rights), max(bottoms), run, order)


def _char_box(raw: Any, textpage: Any, index: int, turn: Turn) -> tuple[float, float, float, float]:
    rect = raw.FS_RECTF()
    raw.FPDFText_GetLooseCharBox(textpage, index, rect)
    return box(turn, rect.left, rect.bottom, rect.right, rect.top)


def rules(raw: Any, page: Any, turn: Turn) -> tuple[list[Rule], list[Rule]]:
    """The horizontal and the vertical lines of a page, edges of rectangles among them; none of a drawing."""
    across: list[Rule] = []
    down: list[Rule] = []
    for (x0, y0), (x1, y1) in _lines(raw, _objects(raw, page)):
        (a, b), (c, d) = turn(x0, y0), turn(x1, y1)
        if abs(b - d) < 1 and abs(a - c) > 4:
            across.append(Rule(round((b + d) / 2, 1), round(min(a, c)), round(max(a, c))))
        elif abs(a - c) < 1 and abs(b - d) > 4:
            down.append(Rule(round((a + c) / 2, 1), round(min(b, d)), round(max(b, d))))
        if len(across) + len(down) > MOST_RULES:
            return [], []
    return across, down


Matrix = tuple[float, float, float, float, float, float]
Point = tuple[float, float]


def _objects(raw: Any, page: Any) -> Iterator[tuple[Any, Matrix]]:
    for n in range(raw.FPDFPage_CountObjects(page)):
        yield from _with_inner(raw, raw.FPDFPage_GetObject(page, n), (1, 0, 0, 1, 0, 0), MOST_NESTED)


def _with_inner(raw: Any, thing: Any, outer: Matrix, depth: int) -> Iterator[tuple[Any, Matrix]]:
    kind = raw.FPDFPageObj_GetType(thing)
    if kind == raw.FPDF_PAGEOBJ_PATH:
        yield thing, _times(_matrix(raw, thing), outer)
    elif kind == raw.FPDF_PAGEOBJ_FORM and depth:
        inside = _times(_matrix(raw, thing), outer)
        for n in range(raw.FPDFFormObj_CountObjects(thing)):
            yield from _with_inner(raw, raw.FPDFFormObj_GetObject(thing, n), inside, depth - 1)


def _matrix(raw: Any, thing: Any) -> Matrix:
    m = raw.FS_MATRIX()
    return (m.a, m.b, m.c, m.d, m.e, m.f) if raw.FPDFPageObj_GetMatrix(thing, m) else (1, 0, 0, 1, 0, 0)


def _times(m: Matrix, n: Matrix) -> Matrix:
    """First `m`, then `n`."""
    return (
        m[0] * n[0] + m[1] * n[2], m[0] * n[1] + m[1] * n[3], m[2] * n[0] + m[3] * n[2], m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4], m[4] * n[1] + m[5] * n[3] + n[5],
    )  # fmt: skip


def _lines(raw: Any, paths: Iterator[tuple[Any, Matrix]]) -> Iterator[tuple[Point, Point]]:
    x, y = ctypes.c_float(), ctypes.c_float()
    for path, m in paths:
        first = last = None
        for n in range(min(raw.FPDFPath_CountSegments(path), MOST_RULES)):
            segment = raw.FPDFPath_GetPathSegment(path, n)
            raw.FPDFPathSegment_GetPoint(segment, x, y)
            point = (x.value * m[0] + y.value * m[2] + m[4], x.value * m[1] + y.value * m[3] + m[5])
            kind = raw.FPDFPathSegment_GetType(segment)
            if kind == raw.FPDF_SEGMENT_MOVETO:
                first = point
            elif kind == raw.FPDF_SEGMENT_LINETO and last:
                yield last, point
            if raw.FPDFPathSegment_GetClose(segment) and first:
                yield point, first
            last = point
