"""What the library dateparser knows of languages: names of months and units, numbers in words, words such as
"yesterday"; and its reading of such a phrase.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any

from fovea.rag.errors import ConfigError, require
from fovea.retrievers.time.counting import COUNTING
from fovea.retrievers.time.days import Interval, span
from fovea.retrievers.time.words import phrases

MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
UNITS = ("day", "week", "month", "year", "decade")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
COUNT = r"(\d++[.,]?\d*+)"
"""How the library's own patterns write a number."""


class Lexicon:
    """The library's data of `languages`, the first of which decides how `03/04/2015` is read.

    Raises MissingExtra without the library, ConfigError for a language that it does not know.
    """

    def __init__(self, languages: tuple[str, ...]) -> None:
        require("dateparser", extra="time", needed_by="reading dates")
        from dateparser.data.languages_info import language_order
        from dateparser.languages.loader import default_loader

        for name in languages:
            if name not in language_order:
                raise ConfigError(
                    f"the library dateparser knows no language {name!r}", got=name, allowed=sorted(language_order)
                )
        self.languages = languages
        found = {locale.shortname: locale.info for locale in default_loader.get_locales(languages=list(languages))}
        self._infos: list[dict[str, Any]] = [found[name] for name in languages]
        self.day_first = self._infos[0].get("date_order", "MDY").startswith("D")

    @cached_property
    def months(self) -> dict[str, int]:
        """Number of the month by its names, in small letters."""
        return {
            name.lower(): number
            for info in self._infos
            for number, month in enumerate(MONTHS, 1)
            for name in info.get(month, ())
        }

    @cached_property
    def full_months(self) -> set[str]:
        """The names of months in full, the longest of each."""
        return {max(info[month], key=len).lower() for info in self._infos for month in MONTHS if info.get(month)}

    @cached_property
    def weekdays(self) -> dict[str, int]:
        """Number of the weekday by its names in small letters, Monday 0; short forms are other words too."""
        return {
            name.lower(): number
            for info in self._infos
            for number, weekday in enumerate(WEEKDAYS)
            for name in info.get(weekday, ())
            if len(name) > 4 and name.isalpha()
        }

    @cached_property
    def units(self) -> dict[str, str]:
        """Unit by its names in small letters: day, week, weekend, month, quarter, year, decade, century."""
        named = {
            word.lower(): unit for info in self._infos for unit in UNITS for word in info.get(unit, ()) if len(word) > 2
        }
        ours = ("month", "year", "quarter", "weekend", "century")
        return {**named, **{word: unit for unit in ours for word in self.said(unit)}}

    def unit(self, word: str) -> str | None:
        """The unit of a word, None where it is none."""
        return self.units.get(" ".join(word.lower().split()))

    def said(self, field: str) -> set[str]:
        """The phrases of one field of `Words` or `Counting`, in the languages that are there."""
        return phrases(self.languages, field)

    def count(self, number: str) -> int:
        """The number of a word or of digits; raises ValueError for another word."""
        return int(number) if number.isdigit() else self.numbers[" ".join(number.lower().split())]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Numbers by their words, one to twelve."""
        words = {
            word.lower(): int(digit)
            for info in self._infos
            for rule in info.get("simplifications", ())
            for word, digit in rule.items()
            if digit.isdigit() and word.isalpha()
        }
        for name in self.languages:
            if name in COUNTING:
                own = COUNTING[name].numbers.split(", ")
                words |= {word: number for number, word in enumerate(own, 1)}
                words |= dict.fromkeys(COUNTING[name].one.split(", "), 1)
        words |= dict.fromkeys(self.said("two"), 2)
        return words

    @cached_property
    def relative(self) -> re.Pattern[str]:
        """Finds phrases such as "yesterday", "last month", "two years ago"; what asks for the newest is left out."""
        found = sorted({*self._phrases()}, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(found)})(?!\w)", re.IGNORECASE)

    @property
    def number(self) -> str:
        """A pattern of a number in digits or words."""
        return rf"(?:\d{{1,3}}|{'|'.join(sorted(self.numbers, key=len, reverse=True))})"

    @cached_property
    def phrases(self) -> set[str]:
        """Words such as "yesterday" and phrases such as "last month", as the library lists them."""
        return {
            word
            for info in self._infos
            for meaning, words in info.get("relative-type", {}).items()
            if any(unit in meaning for unit in UNITS + WEEKDAYS) and meaning != "0 day ago"
            for word in words
            if len(word) > 3
        }

    def _phrases(self) -> Iterator[str]:
        yield from map(re.escape, self.phrases)
        for info in self._infos:
            for meaning, patterns in info.get("relative-type-regex", {}).items():
                if any(unit in meaning for unit in UNITS):
                    yield from (p.replace(COUNT, self.number) for p in patterns if len(p) - len(COUNT) > 4)

    def read(self, phrase: str, today: datetime) -> tuple[datetime, str] | None:
        """The library's reading of a phrase: a time, and what it names ("day", "week", "month", "year")."""
        return _read(self.languages, phrase, today)

    def interval(self, phrase: str, today: datetime) -> Interval | None:
        """The days that a phrase names."""
        if (found := self.read(phrase, today)) is None:
            return None
        at, period = found
        if period == "week":
            day = at.toordinal() - at.weekday()
            return Interval(day, day + 6)
        return span(at.year, at.month if period != "year" else None, at.day if period in ("day", "time") else None)


@lru_cache(maxsize=1024)
def _read(languages: tuple[str, ...], phrase: str, today: datetime) -> tuple[datetime, str] | None:
    from dateparser.date import DateDataParser

    settings = {"RELATIVE_BASE": today, "RETURN_AS_TIMEZONE_AWARE": False}
    found = DateDataParser(languages=list(languages), settings=settings).get_date_data(phrase)
    return None if found.date_obj is None else (found.date_obj, found.period)


@lru_cache(maxsize=8)
def lexicon(languages: tuple[str, ...]) -> Lexicon:
    """Made once for a choice of languages."""
    return Lexicon(languages)
