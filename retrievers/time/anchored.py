"""Expressions that count from a day: "last month", "two weeks ago", "the last five years", "on Monday", "in March".

What a day has no year of lies in the past: "in March", asked in February, was eleven months ago. In a text that was
written on a known day it is the nearest, before or after.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import NamedTuple

from fovea.retrievers.time.bounds import any_of
from fovea.retrievers.time.days import Interval, calendar, span
from fovea.retrievers.time.found import Found, around, quarter, shifted
from fovea.retrievers.time.lexicon import Lexicon
from fovea.retrievers.time.words import RELATIONS, phrases

LEAD = 24
"""Characters before a weekday or a month in which a word must say that it is a date."""
_WORD = re.compile(r"\w+")
_QUARTER = r"Q(?P<q>[1-4])(?![\w.])(?!\s+\d{4})"


class Now(NamedTuple):
    """The day that is counted from, and whether what has no year is `near` it, or before it."""

    day: date
    near: bool = False


class Anchored:
    """Reads them in some languages: those of `COUNTING` by our own words, all others as the library does."""

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._turn = {word: turn for turn, f in ((-1, "last"), (0, "this"), (1, "next")) for word in lexicon.said(f)}
        self._rolling, self._today = lexicon.said("rolling"), lexicon.said("today")
        known = {*lexicon.units, *lexicon.weekdays, *lexicon.months, *self._today, *lexicon.phrases}
        self._hints = {_WORD.findall(word.lower())[-1] for word in known} | {
            "q1",
            "q2",
            "q3",
            "q4",
            "t1",
            "t2",
            "t3",
            "t4",
        }
        self._more, self._less = lexicon.said("more"), lexicon.said("less")
        leads = [p for f in (*RELATIONS, "to", "both", "origin", "in_year") for p in phrases(lexicon.languages, f)]
        self._leads = {phrase.split()[-1] for phrase in [*leads, *lexicon.said("on"), *self._turn]}
        turn, number = any_of(self._turn), lexicon.number
        unit, last = any_of(lexicon.units), any_of(lexicon.said("last"))
        amount = rf"(?:(?P<%s>{any_of([*self._more, *self._less])})\s*)?(?P<%s>{number})\s+(?P<%s>{unit})"
        ago = []
        for i, pattern in enumerate(sorted(lexicon.said("ago"))):
            names = (f"how_{i}", f"n_{i}", f"ago_{i}")
            ago.append(re.escape(pattern).replace(r"\#", "#").replace("#", amount % names))
        since = any_of(phrases(lexicon.languages, "since"))
        ends = any_of(pattern.partition("#")[2].strip() for pattern in lexicon.said("ago") if pattern.startswith("#"))
        day = r"\d\d?(?:st|nd|rd|th|er|º|\.)?(?!\d)"
        edge, fill = any_of([*lexicon.said("opening"), *lexicon.said("closing")]), any_of(lexicon.said("fill"))
        month = any_of(name for name in lexicon.months if len(name.strip(".")) > 2)
        self._pattern = re.compile(
            rf"(?<!\w)(?:(?:{last})\s+(?P<n>{number})\s+(?P<lasting>{unit})|(?P<n2>{number})\s+(?:{last})\s+"
            rf"(?P<lasting2>{unit})|(?P<n3>{number})\s+(?P<lasting3>{unit})\s+(?:{last})"
            rf"|{'|'.join(ago) or '(?!)'}"
            rf"|(?:{since})\s+(?P<n4>{number})\s+(?P<since>{unit})(?!\s+{ends})"
            rf"|{edge}\s+(?:{fill}\s+){{0,2}}(?:[ld]['’])?(?P<whole>{unit})(?!\s+{turn})"
            rf"|(?P<turn>{turn})\s+(?P<unit>{unit})|(?P<unit2>{unit})\s+(?P<turn2>{turn})"
            rf"|(?:(?P<turn3>{turn})\s+)?(?P<weekday>{any_of(lexicon.weekdays)})(?:\s+(?P<turn4>{turn}))?"
            rf"|(?:(?P<d>{day})\s+(?:of\s+|de\s+)?)?(?:(?P<turn5>{turn})\s+)?(?P<month>{month})(?:\s+(?P<turn6>{turn}))?"
            rf"(?:\s+(?P<d2>{day}))?(?!\s{{0,3}},?\s{{0,3}}\d{{2,}})"
            rf"|(?P<today>{any_of(self._today)})|{_QUARTER})(?!\w)",
            re.IGNORECASE,
        )

    def find(self, text: str, now: Now) -> list[Found]:
        """The expressions of a text, in order; none overlaps another."""
        if self._hints.isdisjoint(_WORD.findall(text.lower())):
            return []
        found: list[Found] = []
        for match in self._pattern.finditer(text):
            try:
                one = self._read(text, match, now)
            except (ValueError, OverflowError):  # There is no such day.
                continue
            if one is not None:
                found.append(one)
        held = taken(text, found)
        today = datetime.combine(now.day, datetime.min.time())
        for match in self._lexicon.relative.finditer(text):
            interval = None if any(held[match.start() : match.end()]) else self._lexicon.interval(match[0], today)
            if interval is not None:
                found.append(Found(*match.span(), interval))
        return _of_years(text, sorted(found))

    def _read(self, text: str, match: re.Match[str], now: Now) -> Found | None:
        start, end = match.span()
        groups = {name: value.lower() for name, value in match.groupdict().items() if value is not None}
        day, number = now.day, now.day.toordinal()
        if "q" in groups:
            return Found(start, end, nearest([quarter(day.year + i, int(groups["q"])) for i in (-1, 0, 1)], None, now))
        if "today" in groups:
            return Found(start, end, Interval(number, number), weak=True)
        if "whole" in groups:  # "The end of the year" is that of this one; "the end of the day" is a figure of speech.
            unit = self._unit(groups["whole"])
            return None if unit == "day" else Found(match.start("whole"), end, around(day, unit))
        if "weekday" in groups:
            return self._weekday(text, match, groups, now)
        if "month" in groups:
            return self._month(text, match, groups, now)
        if word := groups.get("unit") or groups.get("unit2"):
            return self._near(text, match, groups, word, now)
        for name, n in (("lasting", "n"), ("lasting2", "n2"), ("lasting3", "n3")):
            if name in groups:
                if name != "lasting" and self._lexicon.count(groups[n]) == 1:  # "The one last week" is no last one.
                    return None
                first = shifted(day, self._unit(groups[name]), -self._lexicon.count(groups[n]))
                return Found(start, end, Interval(first.toordinal(), number, "last"))
        if "since" in groups:
            first = shifted(day, self._unit(groups["since"]), -self._lexicon.count(groups["n4"]))
            return Found(start, end, Interval(first.toordinal(), float("inf"), "since"))
        return self._ago(match, groups, now)

    def _near(self, text: str, match: re.Match[str], groups: dict[str, str], unit: str, now: Now) -> Found | None:
        """The unit before this one, this one, or the next: "last month"; one up to the day: "the past month"."""
        said = groups.get("turn") or groups["turn2"]
        turn, unit = self._turn[said], self._unit(unit)
        if said in self._rolling and "turn" in groups:
            return Found(*match.span(), Interval(shifted(now.day, unit, -1).toordinal(), now.day.toordinal(), "last"))
        if unit == "day" and turn <= 0:
            return None
        monday = around(now.day, "week").start
        day = date.fromordinal(int(monday)) if unit == "weekend" else now.day
        step = "week" if unit == "weekend" else unit
        return Found(*match.span(), around(shifted(day, step, turn), unit))

    def _weekday(self, text: str, match: re.Match[str], groups: dict[str, str], now: Now) -> Found | None:
        said = groups.get("turn3") or groups.get("turn4")
        if said is None and not self._led(text, match.start()):
            return None
        number, weekday = now.day.toordinal(), self._lexicon.weekdays[groups["weekday"]]
        back = (now.day.weekday() - weekday) % 7
        match self._turn.get(said or ""):
            case -1:
                day = number - (back or 7)
            case 0:
                day = number - now.day.weekday() + weekday
            case 1:
                day = number - back + 7
            case _:
                day = number - back
        return Found(*match.span(), Interval(day, day), turns="" if said else "week")

    def _month(self, text: str, match: re.Match[str], groups: dict[str, str], now: Now) -> Found | None:
        said, of_month = groups.get("turn5") or groups.get("turn6"), groups.get("d") or groups.get("d2")
        name = match["month"]
        small = not name[0].isupper() and name.lower() in CAPITAL
        if not of_month and (small or name.lower() not in self._lexicon.full_months):
            return None
        if not (of_month or said or self._led(text, match.start())):
            return None
        month = self._lexicon.months[groups["month"]]
        day = int(re.sub(r"\D", "", of_month)) if of_month else None
        there = []
        near = LEAP if (month, day) == (2, 29) else 1
        for year in range(now.day.year - near, now.day.year + near + 1):
            try:
                there.append(span(year, month, day))
            except ValueError:  # 29 February.
                continue
        if not there:
            return None
        return Found(*match.span(), nearest(there, self._turn.get(said or ""), now), turns="" if said else "year")

    def _ago(self, match: re.Match[str], groups: dict[str, str], now: Now) -> Found | None:
        which = next((name[4:] for name in groups if name.startswith("ago_")), None)
        if which is None:
            return None
        unit, how = self._unit(groups[f"ago_{which}"]), groups.get(f"how_{which}", "")
        there = shifted(now.day, unit, -self._lexicon.count(groups[f"n_{which}"]))
        if how in self._more:
            return Found(*match.span(), Interval(float("-inf"), there.toordinal() - 1, "before"))
        if how in self._less:
            return Found(*match.span(), Interval(there.toordinal(), now.day.toordinal(), "last"))
        return Found(*match.span(), around(there, "year" if unit in ("decade", "century") else unit))

    def _led(self, text: str, start: int) -> bool:
        """Whether the word before says that a time follows."""
        words = re.sub(r"(?<!\w)[ld]['’]", "", text[max(0, start - LEAD) : start].lower()).split()
        return bool(words) and words[-1].strip("(,") in self._leads

    def _unit(self, word: str) -> str:
        unit = self._lexicon.unit(word)
        if unit is None:
            raise ValueError(word)
        return unit


_OF = re.compile(r"\s*,?\s*(?:of|de|del|des|do|di)?\s*(?:the\s+|la\s+|el\s+)?(?:l['’])?\s*", re.IGNORECASE)
LEAP = 8
"""Years within which there is a 29 February, on either side."""
OF = 12
"""Characters between a month and its year."""
CAPITAL = frozenset({"may", "march"})
"""Months that are other words in small letters."""


def taken(text: str, found: list[Found]) -> bytearray:
    """1 for each character that one of the expressions holds. Linear in their lengths."""
    held = bytearray(len(text))
    for one in found:
        held[one.start : one.end] = b"\1" * (one.end - one.start)
    return held


def nearest(there: list[Interval], turn: int | None, now: Now) -> Interval:
    """Of the same time in several years, in order, the one that is meant."""
    number = now.day.toordinal()
    past, coming = [i for i in there if i.start <= number], [i for i in there if i.start > number]
    if turn == 1:
        return coming[0]
    if turn == 0 and not past[-1:]:
        return there[0]
    if turn == -1:
        return [i for i in there if i.end < number][-1]
    if turn == 0:
        return next((i for i in there if calendar(i.start)[0] == now.day.year), past[-1])
    if now.near or not past:
        return min(there, key=lambda i: abs((i.start + i.end) / 2 - number))
    return past[-1]


def _of_years(text: str, found: list[Found]) -> list[Found]:
    """Months and days followed by the year that they are of: "May of last year"."""
    read: list[Found] = []
    for one in found:
        month = read[-1] if read else None
        year = one.interval.end - one.interval.start in (364, 365) and one.interval.relation == "at"
        near = month is not None and one.start - month.end <= OF and _OF.fullmatch(text, month.end, one.start)
        if month and near and year and month.turns == "year":
            try:
                read[-1] = Found(month.start, one.end, _in_year(month.interval, one.interval))
            except ValueError:  # "29 February of last year" may be no day.
                read[-1] = one
        else:
            read.append(one)
    return read


def _in_year(of: Interval, year: Interval) -> Interval:
    (number, *_), (_, month, day) = calendar(year.start), calendar(of.start)
    return span(number, month, day if of.start == of.end else None)
