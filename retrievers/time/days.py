"""Days as numbers, and intervals of them.

Day 1 is 1 January of the year 1, as in `datetime.date.toordinal`, and numbers go on below it: year 0 is 1 BC, year -43
is 44 BC. The Gregorian calendar repeats itself every 400 years, which is how years outside Python's are counted.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from math import inf, isinf
from typing import Literal, NamedTuple

Relation = Literal["at", "from-to", "between", "before", "after", "since", "until", "last"]

CYCLE_YEARS, CYCLE_DAYS = 400, 146_097
DAYS_A_YEAR = CYCLE_DAYS / CYCLE_YEARS


class Interval(NamedTuple):
    """The days `start` to `end`, both included; an open side is infinite. `relation` is how the text put it."""

    start: float
    end: float
    relation: Relation = "at"

    def __str__(self) -> str:
        first, last = ("" if isinf(day) else iso(day) for day in self[:2])
        return f"{self.relation} [{first}, {last}]"


EVER = Interval(-inf, inf)


def day_number(year: int, month: int = 1, day: int = 1) -> int:
    """The number of a day of any year; raises ValueError for one that the calendar lacks."""
    cycles = (year - 1) // CYCLE_YEARS
    return date(year - CYCLE_YEARS * cycles, month, day).toordinal() + CYCLE_DAYS * cycles


def calendar(day: float) -> tuple[int, int, int]:
    """Year, month and day of a finite day number."""
    cycles, within = divmod(int(day) - 1, CYCLE_DAYS)
    found = date.fromordinal(within + 1)
    return found.year + CYCLE_YEARS * cycles, found.month, found.day


def iso(day: float) -> str:
    """`YYYY-MM-DD`, with a minus before the year 0."""
    year, month, of_month = calendar(day)
    return f"{'-' if year < 0 else ''}{abs(year):04}-{month:02}-{of_month:02}"


def span(year: int, month: int | None = None, day: int | None = None) -> Interval:
    """A day, a whole month or a whole year; raises ValueError for a date that the calendar lacks."""
    if month is None:
        return Interval(day_number(year), day_number(year + 1) - 1)
    if day is None:
        after = (year + 1, 1) if month == 12 else (year, month + 1)
        return Interval(day_number(year, month), day_number(*after) - 1)
    return Interval(found := day_number(year, month, day), found)


def moment(at: datetime) -> float:
    """An instant in days, with the part of the day that has passed: 12.5 is noon of day 12. A time zone is converted to
    UTC, a time without one is taken for UTC.
    """
    if at.tzinfo is not None:
        at = at.astimezone(UTC)
    return at.toordinal() + (at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6) / 86_400
