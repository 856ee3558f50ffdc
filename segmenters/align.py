"""Where the pieces of a splitter lie that changed white space or case, or dropped its separators.

Exact places first (`fovea.segmenters.locate`); then with white space and case left out of both sides; then one piece
after the other, each as near to the end of the one before as it is found. A piece found in none of these ways is lost.
"""

from __future__ import annotations

from collections.abc import Sequence

from fovea.rag.errors import DocumentError
from fovea.rag.types import Span
from fovea.segmenters.locate import locate

SLACK = 200
"""Characters that a splitter may have dropped between two pieces."""


def align(text: str, pieces: Sequence[str]) -> list[Span | None]:
    """The span in `text` of each piece that is not blank, by rising start; None for one that is lost. A span begins and
    ends with the piece's own first and last character. O(len(text) + pieces * SLACK) where they lie end to end.
    """
    wanted = [piece for piece in pieces if piece.strip()]
    try:
        return list(locate(text, wanted))
    except DocumentError:
        places = [at for at, char in enumerate(text) if not char.isspace()]
        bare, sought = _bare(text), [_bare(piece) for piece in wanted]
    try:
        found: list[Span | None] = list(locate(bare, sought))
    except DocumentError:
        found = _one_by_one(bare, sought)
    return [span and Span(places[span.start], places[span.end - 1] + 1) for span in found]


def _bare(text: str) -> str:
    """Without white space, in lower case where that has the same length."""
    return "".join(low if len(low := char.lower()) == 1 else char for char in text if not char.isspace())


def _one_by_one(text: str, pieces: Sequence[str]) -> list[Span | None]:
    found: list[Span | None] = []
    last, reach = Span(0, 0), SLACK
    for piece in pieces:
        start = text.find(piece, last.end, last.end + len(piece) + reach)
        if start != last.end:  # It may overlap the one before.
            back = text.rfind(piece, last.start + bool(last.end), last.end + len(piece))
            start = back if back >= 0 else start
        if start < 0:
            found.append(None)
            reach += 2 * len(piece)  # What is lost still takes its place.
            continue
        last, reach = Span(start, start + len(piece)), SLACK
        found.append(last)
    return found
