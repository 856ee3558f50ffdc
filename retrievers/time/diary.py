"""Days that stand at the beginning of a line: those of what is said behind them, in logs, diaries and dialogues.

[2023-05-08 10:30] Ann: We moved in yesterday.      told: 2023-05-08, 2023-05-07
## 9 May 2023
Ben: So you have been there for two days.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import date

from fovea.retrievers.time.anchored import Now
from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.scan import Scanner

Diary = list[tuple[int, Interval]]
"""Where such lines begin, and their days, in order."""
_LEAD = re.compile(r"[^\w\n]{0,6}")
_HEADING = re.compile(r"#{1,6}\s[^\n]*")
LONGEST_HEADING = 200
LAST_DAY = date.max.toordinal()


def diary(text: str, scanner: Scanner) -> Diary:
    """The lines of a text that begin with a day, or are Markdown headings that hold one. About linear."""
    found: Diary = []
    for one in scanner.find(text):
        if one.interval.start == one.interval.end:
            begin = text.rfind("\n", 0, one.start) + 1
            near = one.start - begin <= LONGEST_HEADING
            if near and (_LEAD.fullmatch(text, begin, one.start) or _HEADING.fullmatch(text, begin, one.start)):
                found.append((begin, one.interval))
    return found


def last_before(found: Diary, at: int) -> Interval | None:
    """The day of the last such line that begins before a place of the text, or there."""
    row = bisect_right(found, at, key=lambda entry: entry[0])
    return found[row - 1][1] if row else None


def told_by(text: str, scanner: Scanner, own: Interval | None) -> tuple[Interval, ...]:
    """The intervals that a text names, each once, in order: what counts from a day from that of its line or, before
    the first such line, from `own`, where that is a day.
    """
    lines = diary(text, scanner)
    if not lines and _day(own) is None:
        return scanner.intervals(text)
    places = [0, *(at for at, _ in lines), len(text)]
    days = [own, *(day for _, day in lines)]
    parts = (scanner.intervals(text[a:b], _day(d)) for a, b, d in zip(places, places[1:], days))
    return tuple(dict.fromkeys(interval for part in parts for interval in part))


def _day(own: Interval | None) -> Now | None:
    if own is None or own.start != own.end or not 1 <= own.start <= LAST_DAY:
        return None
    return Now(date.fromordinal(int(own.start)), near=True)
