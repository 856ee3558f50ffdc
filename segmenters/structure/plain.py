"""Plain text: page breaks, blank lines, line ends, sentences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from fovea.rag.sentences import sentences
from fovea.rag.types import Span

PAGE, PARAGRAPH, LINE, SENTENCE, WRAPPED = 0.85, 0.8, 0.6, 0.5, 0.4
LONG = 100
"""Characters of a line that nobody wraps: its end is the end of a paragraph."""
_GAP = re.compile(r"[\r\n\f\u2028\u2029]\s*+")


def strengths(text: str, spans: Sequence[Span] | None = None) -> dict[int, float]:
    """Strength by place, places rising; `spans` are the sentences of `text`, where they are known already.

    A line end where no sentence ends is weaker than a sentence end, since text is often wrapped; where lines are all
    there is (logs, verse), they are used all the same. A long line that ends with a sentence is a paragraph.
    """
    line = 0
    found = dict.fromkeys((span.start for span in (sentences(text) if spans is None else spans)), SENTENCE)
    for gap in _GAP.finditer(text):
        at, white = gap.end(), gap[0]
        if "\f" in white:
            found[at] = PAGE
        elif "\u2029" in white or max(white.count("\n"), white.count("\r")) > 1:
            found[at] = PARAGRAPH
        elif at in found:
            found[at] = PARAGRAPH if gap.start() - line > LONG else LINE
        else:
            found[at] = WRAPPED
        line = at
    return {at: found[at] for at in sorted(found) if 0 < at < len(text)}


def outside(places: Mapping[int, float], ranges: Iterable[tuple[int, int]]) -> dict[int, float]:
    """The places that lie in none of the half-open `ranges`; both rise, ranges do not overlap."""
    kept, rest = {}, iter(ranges)
    start, end = next(rest, (0, 0))
    for at, strength in places.items():
        while end and at >= end:
            start, end = next(rest, (0, 0))
        if not end or at < start:
            kept[at] = strength
    return kept
