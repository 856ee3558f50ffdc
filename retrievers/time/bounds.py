"""What the words around dates make of them: ranges, and intervals that are open on one side.

"from 2010 to last year"          from-to [2010-01-01, end of that year]
"before last month"               before  [..., the last day before that month]
"until the end of last quarter"   until   [..., its last day]
"2015 or later"                   since   [2015-01-01, ...]
"two weeks before 11 August"      at      the week that lies two before that day
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from math import inf, isinf

from fovea.retrievers.time.days import Interval, Relation, span
from fovea.retrievers.time.days import calendar as calendar_of
from fovea.retrievers.time.found import Found, around, day_of, shifted, third
from fovea.retrievers.time.lexicon import Lexicon
from fovea.retrievers.time.words import RELATIONS, phrases

LEAD, FILLS, GAP = 40, 5, 24
"""Characters before a date that are looked at, fill words among them, and characters between the ends of a range."""
_DASH = re.compile(r"\s*[–—-]\s*")
_ARTICLE = re.compile(r"(?<!\w)[ldLD]['’](?!an )")
ORDINALS = {"firs": 1, "seco": 2, "thir": 3, "four": 4, "last": 0, "erst": 1, "zwei": 2, "drit": 3, "vier": 4,
            "letz": 0, "prem": 1, "deux": 2, "troi": 3, "quat": 4, "dern": 0, "prim": 1, "segu": 2, "terc": 3,
            "cuar": 4, "últi": 0}  # fmt: skip
"""Ordinals by their first four letters; 0 is the last."""
_PORTION = re.compile(
    rf"(?<!\w)(?P<number>(?:{'|'.join(ORDINALS)})\w*)\s+(?:(?P<week>weeks?|woche|semaine|semana)"
    r"|half|hälfte|halbjahr|moitié|semestre|mitad)\s+(?:(?:of|des|de|del|im|in|von|du|d')\s*)?(?:the\s+|l['’])?$",
    re.IGNORECASE,
)
Lead = tuple[Relation | None, int | None, bool]
"""The relation, the third of the date that is meant (0, 1, 2), and whether that is its very first or last day."""


class Bounds:
    """Reads the words around the dates of a text."""

    def __init__(self, lexicon: Lexicon) -> None:
        languages = lexicon.languages
        self._lexicon = lexicon
        self._relation: dict[str, Relation] = {p: r for r in RELATIONS for p in phrases(languages, r)}
        self._to, self._both = phrases(languages, "to"), phrases(languages, "both")
        self._fill = phrases(languages, "fill")
        self._third = {p: i for i, f in enumerate(("early", "middle", "late")) for p in phrases(languages, f)}
        self._edge = {p: i for i, f in ((0, "opening"), (2, "closing")) for p in phrases(languages, f)}
        self._between = phrases(languages, "between")
        self._onward, self._back = (_behind(phrases(languages, f)) for f in ("onward", "back"))
        to, today = any_of(self._to), any_of(phrases(languages, "today"))
        self._goes_on = re.compile(rf"\s{{0,3}}(?:{to}|[–—-])\s{{0,3}}{today}(?!\w)", re.IGNORECASE)
        self._offset = re.compile(
            rf"(?<!\w)(?:(?P<n>{lexicon.number})\s+)?(?P<unit>{any_of([*lexicon.units, *lexicon.weekdays])})\s+"
            rf"(?:(?P<before>{any_of(phrases(languages, 'before'))})|{any_of(phrases(languages, 'after'))})\s+"
            rf"(?:{any_of(self._fill)}\s+)?$",
            re.IGNORECASE,
        )

    def read(self, text: str, dates: Sequence[Found]) -> list[Found]:
        """The expressions of a text: its dates, in order, joined to ranges and with their bounds."""
        read: list[Found] = []
        at = 0
        while at < len(dates):
            one = self._portion(text, dates[at])
            lead = self._lead(text, one.start)
            if at + 1 < len(dates) and (joined := self._joined(text, one, dates[at + 1], lead)):
                read.append(joined)
                at += 2
                continue
            if (bound := self._bound(text, one, lead)) is not None:
                while read and read[-1].end > bound.start:  # "last weekend before 10 April" is one of that day's.
                    read.pop()
                read.append(bound)
            at += 1
        return read

    def _bound(self, text: str, one: Found, lead: Lead) -> Found | None:
        """A date that is no part of a range; None for a word that is no date by itself."""
        relation, which, edge = lead
        if relation in ("before", "after") and (offset := self._counted(text, one)):
            return offset
        if relation is None and (after := self._after(text, one)):
            return after
        if one.weak and relation is None:
            return None
        interval = one.interval
        if which is not None:
            interval = _edge(interval, which) if edge and relation in EDGED else third(interval, which)
        return one._replace(interval=related(interval, relation))

    def _after(self, text: str, one: Found) -> Found | None:
        """A bound that stands behind its date: "2015 or later", "2010 to the present"."""
        if one.interval.relation != "at" or one.weak:
            return None
        for pattern, relation in ((self._onward, "since"), (self._goes_on, "since"), (self._back, "until")):
            if found := pattern.match(text, one.end):
                return Found(one.start, found.end(), related(one.interval, relation))  # type: ignore[arg-type]
        return None

    def _portion(self, text: str, one: Found) -> Found:
        """A half or a week of a date: "the second half of 2019", "the first week of May 2023"."""
        found = _PORTION.search(text, max(0, one.start - LEAD), one.start) if one.interval.relation == "at" else None
        if found is None:
            return one
        start, end, _ = one.interval
        number = ORDINALS[found["number"].lower()[:4]]
        if found["week"]:
            first = end - 6 if number == 0 else start + 7 * (number - 1)
            part = Interval(first, first + 6)
        else:
            year, month, _ = calendar_of(start)
            middle = span(year, month + 6).start if end - start in (364, 365) else (start + end + 1) // 2
            part = Interval(start, middle - 1) if number == 1 else Interval(middle, end)
        if not start <= part.start <= part.end <= end:
            return one
        return one._replace(start=found.start(), interval=part)

    def _counted(self, text: str, one: Found) -> Found | None:
        """So long before or after a date, where a unit stands before the word: "the week before 3 May"."""
        found = self._offset.search(text, max(0, one.start - 2 * LEAD), one.start)
        if found is None or isinf(one.interval.start) or isinf(one.interval.end):
            return None
        unit, sign = self._lexicon.unit(found["unit"]), -1 if found["before"] else 1
        edge = one.interval.start if found["before"] else one.interval.end
        try:
            if unit is None:
                weekday = self._lexicon.weekdays[found["unit"].lower()]
                away = (sign * (weekday - day_of(edge).weekday()) - 1) % 7 + 1
                return Found(found.start(), one.end, Interval(edge + sign * away, edge + sign * away))
            if found["n"] and unit != "weekend":
                count = self._lexicon.count(found["n"])
                if count > 1 or unit == "day":
                    away_day = shifted(day_of(edge), unit, sign * count)
                    return Found(found.start(), one.end, around(away_day, unit))
            if unit == "weekend":
                near = around(day_of(edge + sign), unit)
                if (near.end >= edge and sign < 0) or (near.start <= edge and sign > 0):
                    near = Interval(near.start + 7 * sign, near.end + 7 * sign)
                return Found(found.start(), one.end, near)
            far = shifted(day_of(edge), unit, sign).toordinal()
        except (ValueError, OverflowError):
            return None
        return Found(found.start(), one.end, Interval(min(far, edge + sign), max(far, edge + sign)))

    def _lead(self, text: str, start: int) -> Lead:
        """What the words before a date make of it."""
        words = _words(text[max(0, start - LEAD) : start]).replace("-", " ").split()
        which, edge = None, False
        for _ in range(FILLS + 1):
            for count in (4, 3, 2, 1):
                if relation := self._relation.get(" ".join(words[-count:]).lstrip("(")):
                    return relation, which, edge
            word = words[-1].strip("(,") if words else ""
            if which is None and word in self._edge:
                which, edge = self._edge[word], True
            elif which is None and word in self._third:
                which = self._third[word]
            elif word not in self._fill and word:
                break
            if not words:
                break
            words.pop()
        return None, which, edge

    def _joined(self, text: str, one: Found, other: Found, lead: Lead) -> Found | None:
        """Two dates with "to", a dash, or after "between" an "and" amid them, as one range."""
        closed = ("from-to", "last")
        if other.start - one.end > GAP or one.interval.relation in closed or other.interval.relation in closed:
            return None
        gap = text[one.end : other.start]
        words = _words(gap).strip(" ,").split()
        which, edge = None, False
        while len(words) > 1 and words[-1] in self._fill | self._third.keys() | self._edge.keys():
            word = words.pop()
            which, edge = (self._third | self._edge).get(word, which), edge or word in self._edge
        amid = " ".join(words)
        between = lead[0] == "between" and amid in self._both
        if not (between or amid in self._to or _DASH.fullmatch(gap)):
            return None
        first = third(one.interval, lead[1]) if lead[1] is not None and not lead[2] else one.interval
        last = third(other.interval, which) if which is not None and not edge else other.interval
        if lead[1] is not None and lead[2]:
            first = _edge(one.interval, lead[1])
        if which is not None and edge:
            last = _edge(other.interval, which)
        if last.end < first.start and other.turns:
            last = _next_year(last) if other.turns == "year" else Interval(last.start + 7, last.end + 7)
        if last.end < first.start or isinf(first.start) or isinf(last.end):
            return None
        return Found(one.start, other.end, Interval(first.start, last.end, "between" if between else "from-to"))


EDGED = frozenset({"before", "after", "since", "until"})


def related(interval: Interval, relation: Relation | None) -> Interval:
    """What a relation makes of an interval: `before` ends on the day before it, `after` begins on the day after. One
    that is open on a side is never opened on the other.
    """
    start, end, own = interval
    if own in ("from-to", "last") and relation in ("since", "until"):
        return interval
    if (isinf(start) and relation in ("before", "since")) or (isinf(end) and relation in ("after", "until")):
        return interval
    match relation:
        case "before":
            return Interval(-inf, start - 1, relation)
        case "after":
            return Interval(end + 1, inf, relation)
        case "since":
            return Interval(start, inf, relation)
        case "until":
            return Interval(-inf, end, relation)
    return interval


def any_of(words: Iterable[str]) -> str:
    """A pattern of any of the phrases, the longest first; one that never matches where there are none."""
    found = sorted(set(words), key=lambda word: (-len(word), word))
    return rf"(?:{'|'.join(map(re.escape, found))})" if found else r"(?!)"


def _behind(words: set[str]) -> re.Pattern[str]:
    return re.compile(rf"\s{{0,3}},?\s{{0,3}}{any_of(words)}(?!\w)", re.IGNORECASE)


def _words(text: str) -> str:
    """In small letters, without the articles that French writes as one with a word."""
    return _ARTICLE.sub("", text).lower().replace("’", "'")


def _edge(interval: Interval, which: int) -> Interval:
    day = interval.start if which == 0 else interval.end
    return interval if isinf(day) else Interval(day, day)


def _next_year(interval: Interval) -> Interval:
    (year, month, day), (to, to_month, to_day) = calendar_of(interval.start), calendar_of(interval.end)
    return Interval(span(year + 1, month, min(day, 28) if month == 2 else day).start,
                    span(to + 1, to_month).end if to_day >= 28 else span(to + 1, to_month, to_day).end)  # fmt: skip
