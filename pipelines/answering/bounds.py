"""On which side a number bounds: "at most 4 months", "must not exceed 4 months" and "4 months maximum" are one.

Known in English and German, the commonest also in French and Spanish.
"""

from __future__ import annotations

import re
from typing import Literal

from fovea.rag.types import Span

Side = Literal["most", "least", ""]
"""`most`: no more than the number; `least`: no less; "" where nothing is said of it."""

_MORE = r"(?:more|longer|later|greater|higher|larger|older|mehr|länger|später|höher)"
_LESS = r"(?:less|fewer|lower|shorter|smaller|younger|earlier|weniger|kürzer|niedriger)"
_NO = r"(?:no|not|never|cannot|nicht|\w+n['’]t)\s+(?:(?:be|lie|go|rise|fall|drop)\s+)?"
_NO_MORE = rf"{_NO}(?:{_MORE}\s+(?:than|als)|exceed(?:s|ed|ing)?|over|above|beyond|über)"
_NO_LESS = rf"{_NO}(?:{_LESS}\s+(?:than|als)|under|below|unter)"
_DOOR = {
    "most": rf"{_NO_MORE}|at\s+(?:the\s+)?most|up\s+to|{_LESS}\s+(?:than|als)|under|below|within|bis\s+zu|unter|"
    r"innerhalb|binnen|bis(?=\s+\Z)|au\s+plus|jusqu['’]à|moins\s+de|menos\s+de|hasta|max\.",
    "least": rf"{_NO_LESS}|at\s+(?:the\s+)?least|{_MORE}\s+(?:than|als)|over|above|beyond|exceed(?:s|ed|ing)?|über|"
    r"ab(?=\s+\Z)|au\s+moins|plus\s+de|al\s+menos|más\s+de|min\.",
}
"""Right before the number, or a word away."""
_HALL = {
    "most": rf"{_NO_MORE}|maxim(?:um|al)|höchstens|spätestens|como\s+máximo",
    "least": rf"{_NO_LESS}|minimum|mindestens|wenigstens|frühestens|como\s+mínimo",
}
"""Anywhere before it in its clause."""
_BEHIND = {
    "most": r"or\s+(?:less|fewer|under|below)|at\s+(?:the\s+)?most|max(?:imum|\.)?|at\s+the\s+latest|oder\s+weniger|"
    r"nicht\s+(?:überschr|überstie?g|überstei)[^\W\d_]+",
    "least": r"or\s+(?:more|over|above|older|longer)|at\s+(?:the\s+)?least|minimum|at\s+the\s+earliest|"
    r"(?:oder|und)\s+mehr|nicht\s+unterschr[^\W\d_]+",
}
_CLAUSE = re.compile(r"[.;:!?]\s|[,\n()]")
NEAR, AFTER = 14, 32
"""Characters between the words of a bound and its number, before and behind it."""


def _compiled(sides: dict[str, str]) -> re.Pattern[str]:
    named = (rf"(?P<{side}>(?<!\w)(?:{phrases})(?!\w))" for side, phrases in sides.items())
    return re.compile("|".join(named), re.IGNORECASE)


_AT_DOOR, _IN_HALL, _OUT = _compiled(_DOOR), _compiled(_HALL), _compiled(_BEHIND)
NEGATED = re.compile(rf"\b(?:{_NO_MORE}|{_NO_LESS})", re.IGNORECASE)
"""Bounds that read as denials: "no more than", "must not exceed"."""
BOUNDS = re.compile("|".join(p for sides in (_DOOR, _HALL) for p in sides.values()), re.IGNORECASE)


def side(text: str, span: Span, after: int, before: int) -> Side:
    """The side on which the number at `span` bounds, told by what stands between the number that ends at `after` and
    the one that begins at `before`."""
    head = _CLAUSE.split(text[after : span.start])[-1]
    found = _last(_AT_DOOR, head)
    if found and found.end() >= len(head) - NEAR:
        return _named(found)
    if found := _last(_IN_HALL, head):
        return _named(found)
    tail = _CLAUSE.split(text[span.end : min(before, span.end + AFTER)])[0]
    found = _OUT.search(tail)
    return _named(found) if found else ""


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(reversed(list(pattern.finditer(text))), None)


def _named(match: re.Match[str]) -> Side:
    return "most" if match["most"] is not None else "least"
