"""Where the pieces of a splitter lie in the text they came from."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence

from fovea.rag.errors import DocumentError
from fovea.rag.types import Span

MOST_WAYS = 1000
"""In a text of endless repetition, only the last of the places where an overlapping piece may lie are looked at."""
_SPACE = re.compile(r"\s*+")


def locate(text: str, pieces: Sequence[str], where: str = "") -> list[Span]:
    """The spans of `pieces` in `text`: exact, each starting after the start of the one before, nothing but white space
    left out between them or around them. Pieces may overlap, repeat, and lack white space at their ends.

    Of several ways to lay them out, the one with the least overlap is taken. Raises DocumentError, naming the piece, if
    there is none: the splitter changed the text. O(len(text)) without overlap, else O(len(text) + places considered),
    at most `MOST_WAYS` a piece.
    """
    wanted = [p for p in (piece.strip() for piece in pieces) if p]
    if not wanted:
        if text.strip():
            raise DocumentError("the splitter returned no pieces of a text that is not blank", where=where)
        return []
    if spans := _end_to_end(text, wanted):
        return spans
    ways = [[_skip(text, 0)] if text.startswith(wanted[0], _skip(text, 0)) else []]
    for number, piece in enumerate(wanted):
        if number:
            ways.append(_occurrences(text, wanted[number - 1], piece, ways[-1]))
        if not ways[-1]:
            raise _lost(number, piece, len(wanted), where)
    ends = [s for s in ways[-1] if _skip(text, s + len(wanted[-1])) == len(text)]
    if not ends:
        raise DocumentError(f"the splitter's {len(wanted)} pieces leave out the end of the text", where=where)
    starts = [ends[-1]]
    for found in reversed(ways[:-1]):
        starts.append(found[bisect_left(found, starts[-1]) - 1])
    return [Span(s, s + len(p)) for s, p in zip(reversed(starts), wanted)]


def _end_to_end(text: str, wanted: Sequence[str]) -> list[Span]:
    """The pieces one after the other, or nothing if they do not lie like that."""
    spans, at = [], _skip(text, 0)
    for piece in wanted:
        if not text.startswith(piece, at):
            return []
        spans.append(Span(at, at + len(piece)))
        at = _skip(text, at + len(piece))
    return spans if at == len(text) else []


def _occurrences(text: str, before: str, piece: str, ways: list[int]) -> list[int]:
    """Where `piece` may lie, rising, given where the piece before it may: later than it, no later than its end."""
    found: list[int] = []
    ways = ways[-MOST_WAYS:]
    for way, limit in zip(ways, [*ways[1:], len(text)]):
        low, high = max(way + 1, found[-1] + 1 if found else 0), min(limit, _skip(text, way + len(before)))
        at = text.find(piece, low, high + len(piece))
        while at >= 0:
            found.append(at)
            at = text.find(piece, at + 1, high + len(piece))
    return found


def _skip(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _lost(number: int, piece: str, count: int, where: str) -> DocumentError:
    shown = piece if len(piece) <= 60 else piece[:57] + "..."
    return DocumentError(
        f"piece {number + 1} of {count} of the splitter is not in the text where it should be: {shown!r}",
        where=where,
        fix="use a splitter that keeps the text as it is: keep_separator=True, nothing cleaned, added or dropped",
    )
