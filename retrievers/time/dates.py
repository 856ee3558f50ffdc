"""A fast reading of the dates in a text: years, months, days, ranges, decades, centuries, and years before Christ.

    "from Apr 1926 to 1927"  ->  from-to [1926-04-01, 1927-12-31]

Every number of the text is looked at once, with what stands before and after it: microseconds for a passage. Numbers
that are quantities ("1,500 people", "$1950"), ages and fiscal years are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf

from fovea.retrievers.time.days import Interval, Relation, span
from fovea.retrievers.time.found import Found, quarter
from fovea.retrievers.time.lexicon import Lexicon
from fovea.retrievers.time.words import RELATIONS, phrases

FIRST_YEAR, LAST_YEAR = 1000, 2199
"""Four digits between them may be a year wherever they stand."""

_NUMBER = re.compile(r"\d+(?:[.,/–—-]\d+)*(?:'?s\b|e?rn?\b|st\b|nd\b|th\b|[eè](?:me)?\b)?")
_FORM = re.compile(
    r"(?P<iso>\d{4})-(?P<iso_month>0[1-9]|1[0-2])-(?P<iso_day>\d\d)"
    r"|(?P<a>\d\d?)(?P<mark>[./])(?P<b>\d\d?)[./](?P<of>\d{4})"
    r"|(?P<year>\d{1,4})(?:(?P<decade>'?s|ern?)|[–—/-](?P<to>\d{1,4}))?"
)
_BEFORE_CHRIST = r"B\.?C\.?(?:E\.?)?(?![\w])|v\.\s?Chr\.?|v\.?C\.|av(?:ant)?\.?\s?J\.?-?C\.?|a\.\s?C\.?"
_ERA = re.compile(rf"\s*(?:(?P<bc>{_BEFORE_CHRIST})|A\.?D\.?(?!\w)|C\.?E\.?(?!\w)|n\.\s?Chr\.?|ap\.\s?J\.?-?C\.?)")
_ERA_HINTS = ("BC", "B.C", "Chr", "J.-C", "J.C", "J-C", "AD", "A.D", "CE", "C.E", "a. C", "a.C", "v.C")
_CENTURY = re.compile(
    r"(?<!\w)(?:(?P<n>\d\d?)(?:st|nd|rd|th|\.|[eè](?:me)?)?|(?P<roman>[XVI]+)e?)\s+"
    r"(?:century|centuries|jahrhunderts?|siècles?|secolo|eeuw)(?!\w)|(?:siglo|século)\s+(?P<after>[XVI]+)(?!\w)",
    re.IGNORECASE,
)
_CENTURY_HINTS = ("entur", "hundert", "iècle", "siglo", "ecolo", "éculo", "eeuw")
_ROMAN = {"I": 1, "V": 5, "X": 10}
_MONTHS = tuple(f"{month:02}" for month in range(1, 13))
"""Behind a year and a hyphen, where that is no later year: "2020-06"."""
_NO_YEAR = tuple("$€£#.,/+&_")
"""Right before a number that is then no year."""
_OPEN = re.compile(r"\s?[–—-]\s?(?=\))")
"""After a year: "(1984–)"."""
FIRST_DECADE = 30
"""The first decade that belongs to the last century where its century is not said: "the 30s"."""
_NO_DECADE = frozenset({"about", "around", "least", "year", "years"})
_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": 4, "erste": 1, "ersten": 1, "zweite": 2,
             "zweiten": 2, "dritte": 3, "dritten": 3, "vierte": 4, "vierten": 4, "premier": 1, "deuxième": 2,
             "troisième": 3, "quatrième": 4, "primer": 1, "segundo": 2, "tercer": 3, "cuarto": 4}  # fmt: skip
_QUARTER = re.compile(
    rf"(?<!\w)(?:[QT](?P<q>[1-4])|H(?P<half>[12])|(?P<nth>[1-4])(?:st|nd|rd|th|\.|er|e|º)\s+(?:quarter|quartal|trimestre)"
    rf"|(?P<word>{'|'.join(_ORDINALS)})\s+(?:quarter|quartal|trimestre))s?[\s/,]+(?:of\s+|de\s+|des\s+jahres\s+|del\s+)?$",
    re.IGNORECASE,
)
"""Before a year: "Q3 2015", "third quarter of 2015"."""
_DAY_RANGE = re.compile(
    r"(?<![\w.,/-])(\d\d?)(?:st|nd|rd|th|er|º|\.)?\s*(?:[–—-]|to|and|bis|und|au|et|al|y|a)\s*(?:the\s|den\s|dem\s|el\s)?\s*$",
    re.IGNORECASE,
)
"""Before a day of a month and year: "9 and 11 May 2025"."""
_NEXT = re.compile(r"[\s-]?([^\W\d_]+)")


class Dates:
    """Reads the dates of texts in some languages."""

    def __init__(self, known: Lexicon) -> None:
        languages = known.languages
        self._months, self._day_first = known.months, known.day_first
        self._relation: dict[str, Relation] = {p: r for r in RELATIONS for p in phrases(languages, r)}
        self._to, self._both = phrases(languages, "to"), phrases(languages, "both")
        self._fill = phrases(languages, "fill")
        self._third = {p: i for i, f in enumerate(("early", "middle", "late")) for p in phrases(languages, f)}
        self._units, self._never = phrases(languages, "units"), phrases(languages, "never")
        self._year_words, self._decade = phrases(languages, "year"), phrases(languages, "decade")
        origin = phrases(languages, "origin")
        self._small = phrases(languages, "in_year") | {p.split()[-1] for p in self._relation} | self._to | origin
        self._goes_on = self._small | self._both | self._fill | self._to
        months = "|".join(sorted(map(re.escape, self._months), key=len, reverse=True))
        to = "|".join(sorted(map(re.escape, self._to | self._both), key=len, reverse=True))
        day = r"\d\d?"
        self._month_before = re.compile(
            rf"(?<!\w)(?:(?P<d>{day})(?:st|nd|rd|th|er|º|\.)?\s+(?:of\s+|de\s+)?)?(?P<m>{months})\.?\s?,?\s*"
            rf"(?:(?:(?P<d1>{day})\s?[–—-]\s?)?(?P<d2>{day})(?:st|nd|rd|th)?\s?,?\s+|(?:of|de|del|do)\s+)?$",
            re.IGNORECASE,
        )
        self._month_range = re.compile(
            rf"(?<!\w)(?:(?P<d>{day})(?:st|nd|rd|th|er|º|\.)?\s+(?:of\s+|de\s+)?)?(?P<m>{months})\.?"
            rf"(?:\s+(?P<d2>{day})(?:st|nd|rd|th)?)?\s*(?:[–—-]|{to})\s*(?:the |dem |le |el |zum )?$",
            re.IGNORECASE,
        )

    def find(self, text: str) -> list[Found]:
        """The dates of a text in order, whatever stands around them. About linear in the numbers it holds."""
        dates = [*self._dates(text)]
        if any(hint in text for hint in _CENTURY_HINTS):
            dates = sorted([*dates, *_centuries(text)])
        return dates

    def _dates(self, text: str) -> Iterator[Found]:
        eras = any(hint in text for hint in _ERA_HINTS)
        for match in _NUMBER.finditer(text):
            form = _FORM.fullmatch(match[0])
            start, end = match.span()
            if form is None or (len(match[0]) < 3 and not eras and _word_before(text, start) not in self._decade):
                continue
            try:
                if form["year"] is None:
                    yield Found(start, end, self._numeric(form))
                elif found := self._year(text, start, end, form, eras):
                    yield found
            except ValueError:  # There is no such day.
                continue

    def _numeric(self, form: re.Match[str]) -> Interval:
        if form["iso"]:
            return span(int(form["iso"]), int(form["iso_month"]), int(form["iso_day"]))
        a, b = int(form["a"]), int(form["b"])
        day, month = (a, b) if a > 12 or (b <= 12 and (form["mark"] == "." or self._day_first)) else (b, a)
        return span(int(form["of"]), month, day)

    def _year(self, text: str, start: int, end: int, form: re.Match[str], eras: bool) -> Found | None:
        year = int(form["year"])
        if len(form["year"]) == 2 and not form["to"] and self._is_short_decade(text, start, form):
            year += 1900 if year >= FIRST_DECADE else 2000
            return Found(start, end, Interval(span(year).start, span(year + 9).end))
        era = _ERA.match(text, end) if eras else None
        after_christ = eras and text[max(0, start - 4) : start].rstrip().endswith(("AD", "A.D."))
        if era and era["bc"]:
            until = span(1 - int(form["to"] or year)).end
            return Found(start, era.end(), Interval(span(1 - year).start, until, _range(form)))
        if not (era or after_christ) and not self._is_year(text, start, end, form):
            return None
        end = era.end() if era else end
        if form["decade"] or (year % 10 == 0 and _word_before(text, start) in self._decade):
            return Found(start, end, Interval(span(year).start, span(year + 9).end)) if year % 10 == 0 else None
        if found := _QUARTER.search(text, max(0, start - 30), start):
            if found["half"]:
                months = (1, 6) if found["half"] == "1" else (7, 12)
                return Found(found.start(), end, Interval(span(year, months[0]).start, span(year, months[1]).end))
            number = _ORDINALS[found["word"].lower()] if found["word"] else int(found["q"] or found["nth"])
            return Found(found.start(), end, quarter(year, number))
        begin, interval = self._with_month(text, start, year)
        if form["to"] and (last := _full(year, form["to"])):
            return Found(begin, end, Interval(interval.start, span(last).end, "from-to"))
        if (form["to"] or "") in _MONTHS:
            return Found(start, end, span(year, int(form["to"])))
        if goes_on := _OPEN.match(text, end):
            return Found(begin, goes_on.end(), Interval(interval.start, inf, "since"))
        return Found(begin, end, interval)

    def _is_short_decade(self, text: str, start: int, form: re.Match[str]) -> bool:
        """Whether the number stands for ten years of a century that goes without saying: "the 90s", "den 90ern"."""
        if form["year"][1] != "0":
            return False
        word = _word_before(text, start).rstrip("-")
        if form["decade"] is None:
            return word in self._decade
        apart = text[start - 1 : start] in ("'", "’")
        return apart or word in self._third or (word in self._fill | self._small and word not in _NO_DECADE)

    def _is_year(self, text: str, start: int, end: int, form: re.Match[str]) -> bool:
        """Whether the number reads as a year where it stands."""
        digits, before = len(form["year"]), text[start - 1 : start]
        if digits < 3 or before in _NO_YEAR or before.isalnum():
            return False
        if before in ("-", "–", "—") and text[start - 2 : start - 1].isalnum():
            word = text[max(0, start - 12) : start - 1].split()[-1].lower()
            if word not in self._third and word not in self._relation:
                return False
        words = text[max(0, start - 20) : start].lower().replace("’", "'").replace(" .", " ").split()
        word = words[-1] if words else ""
        follows = _NEXT.match(text, end)
        follower = follows[1] if follows else ""
        if word in self._never or " ".join(words[-2:]) in self._never or text[end : end + 1] in tuple("%°€$£"):
            return False
        if digits == 4:
            return FIRST_YEAR <= int(form["year"]) <= LAST_YEAR and follower.lower() not in self._units
        ends = not follower or follower[0].isupper() or follower.lower() in self._goes_on
        return (
            word in self._months
            or word in self._year_words
            or (ends and (word in self._small or len(form["to"] or "") == 3))
        )

    def _with_month(self, text: str, start: int, year: int) -> tuple[int, Interval]:
        """Where the date of a year begins, and what it names, with the month and day before it; a month or day before
        those, as in "April to June 1950", begins a range.
        """
        found = self._month_before.search(text, max(0, start - 34), start)
        if found is None:
            return start, span(year)
        interval = span(year, self._months[found["m"].lower()], _day(found))
        if found["d"] and (day := _DAY_RANGE.search(text, max(0, found.start() - 12), found.start())):
            opens = span(year, self._months[found["m"].lower()], int(day[1]))
            if opens.start < interval.start:
                return day.start(), Interval(opens.start, interval.end, "from-to")
        if found["d2"] and found["d1"] and int(found["d1"]) < int(found["d2"]):
            opens = span(year, self._months[found["m"].lower()], int(found["d1"]))
            return found.start(), Interval(opens.start, interval.end, "from-to")
        if first := self._month_range.search(text, max(0, found.start() - 34), found.start()):
            opens = span(year, self._months[first["m"].lower()], _day(first))
            if opens.start <= interval.end:
                return first.start(), Interval(opens.start, interval.end, "from-to")
        return found.start(), interval


def _centuries(text: str) -> Iterator[Found]:
    for match in _CENTURY.finditer(text):
        roman = match["roman"] or match["after"]
        number = int(match["n"]) if match["n"] else _roman(roman.upper())
        start, end = match.span()
        if era := _ERA.match(text, end):
            end = era.end()
        first = -100 * number + 1 if era and era["bc"] else 100 * number - 99
        yield Found(start, end, Interval(span(first).start, span(first + 99).end))


def _word_before(text: str, at: int) -> str:
    words = text[max(0, at - 20) : at].lower().split()
    return words[-1] if words else ""


def _range(form: re.Match[str]) -> Relation:
    return "from-to" if form["to"] else "at"


def _full(year: int, short: str) -> int | None:
    """The second year of "1914-18", or None where it is no later one."""
    last = int(str(year)[: -len(short)] + short)
    return last if year < last <= LAST_YEAR else None


def _day(found: re.Match[str]) -> int | None:
    day = found["d"] or found["d2"]
    return int(day) if day else None


def _roman(numeral: str) -> int:
    values = [_ROMAN[letter] for letter in numeral]
    return sum(-v if any(w > v for w in values[i + 1 :]) else v for i, v in enumerate(values))
