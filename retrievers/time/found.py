"""An expression of time in a text, and the spans of units of time."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from math import isinf
from typing import Literal, NamedTuple

from fovea.retrievers.time.days import Interval, calendar, span

Unit = Literal["day", "week", "weekend", "month", "quarter", "year", "decade", "century"]
MONTHS_A: dict[str, int] = {"month": 1, "quarter": 3, "year": 12, "decade": 120, "century": 1200}
SATURDAY = 5


class Found(NamedTuple):
    """An expression of `text[start:end]`."""

    start: int
    end: int
    interval: Interval
    weak: bool = False
    """A time behind a bound or in a range alone, as "now" is; else a word like any other."""
    turns: Literal["", "week", "year"] = ""
    """A weekday, or a month or day without its year: in a range, its end is the next one after the beginning."""


def shifted(day: date, unit: str, count: int) -> date:
    """`count` units later, or earlier where that is negative; the last day of a month that is too short. Raises
    ValueError or OverflowError beyond the calendar.
    """
    if unit in MONTHS_A:
        month = day.year * 12 + day.month - 1 + count * MONTHS_A[unit]
        year, month = month // 12, month % 12 + 1
        return date(year, month, min(day.day, monthrange(year, month)[1]))
    return day + timedelta(days=count if unit == "day" else 7 * count)


def around(day: date, unit: str) -> Interval:
    """The day, week (from Monday), weekend, month, quarter, year, decade or century that holds `day`."""
    number, year = day.toordinal(), day.year
    monday = number - day.weekday()
    match unit:
        case "week":
            return Interval(monday, monday + 6)
        case "weekend":
            return Interval(monday + SATURDAY, monday + 6)
        case "month":
            return span(year, day.month)
        case "quarter":
            return quarter(year, (day.month + 2) // 3)
        case "year":
            return span(year)
        case "decade":
            return Interval(span(year // 10 * 10).start, span(year // 10 * 10 + 9).end)
        case "century":
            first = (year - 1) // 100 * 100 + 1
            return Interval(span(first).start, span(first + 99).end)
    return Interval(number, number)


def quarter(year: int, number: int) -> Interval:
    """The quarter 1 to 4 of a year."""
    return Interval(span(year, 3 * number - 2).start, span(year, 3 * number).end)


def third(interval: Interval, which: int) -> Interval:
    """The first, middle or last third (0, 1, 2) of a decade or century, a year or quarter (in months), a month (ten
    days, ten, and the rest), or any time as long as that; all of a shorter one, and of one that is open on a side.
    """
    days = interval.end - interval.start + 1
    if isinf(days) or days < 28:
        return interval
    year, month, day = calendar(interval.start)
    if days >= 3000 and (month, day) == (1, 1):
        years = round(days / 365.2425)
        bounds = [0, -(-years // 3), -(-years * 2 // 3), years]
        first, last = span(year + bounds[which]).start, span(year + bounds[which + 1] - 1).end
    elif (days in (365, 366) and (month, day) == (1, 1)) or (90 <= days <= 92 and month <= 10 and day == 1):
        months = 4 if days > 92 else 1
        first = span(year, month + months * which).start
        last = span(year, month + months * (which + 1) - 1).end
    else:
        size = 10 if days <= 31 else days // 3
        first = interval.start + size * which
        last = interval.end if which == 2 else first + size - 1
    return Interval(first, last, interval.relation)


def day_of(number: float) -> date:
    """The calendar day of a day number; raises ValueError outside the years 1 to 9999."""
    return date.fromordinal(int(number))
