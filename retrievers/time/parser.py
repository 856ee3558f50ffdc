"""What a question says of time: the intervals it names, and whether it asks for the newest.

"Who led it from Apr 1926 to 1927?"   from-to [1926-04-01, 1927-12-31]
"Wer gewann vor drei Jahren?"         at [2017-01-01, 2017-12-31], asked on a day of 2020
"Who coaches the team now?"           recent
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.lexicon import lexicon
from fovea.retrievers.time.scan import Found, scanner
from fovea.retrievers.time.words import phrases

Languages = tuple[str, ...]
SPOKEN: Languages = ("en", "de", "fr", "es")
"""The languages that are read where nothing else is said."""


class Scope(NamedTuple):
    """`intervals` that a question names, and `recent`: it asks for the newest."""

    intervals: tuple[Interval, ...] = ()
    recent: bool = False


class TimeParser:
    """Reads questions in some languages. Raises MissingExtra without the library, ConfigError for a language that it
    does not know.
    """

    def __init__(self, languages: Languages = SPOKEN) -> None:
        self.languages, self._lexicon, self._scanner = languages, lexicon(languages), scanner(languages)

    def read(self, text: str, today: datetime | None = None) -> Scope:
        """What `text` says of time when it is asked on `today` (now, where that is None)."""
        now = datetime.now(UTC) if today is None else today
        return self._read(text, now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now)

    def _read(self, text: str, today: datetime) -> Scope:
        today = today.replace(hour=0, minute=0, second=0, microsecond=0)
        found = self._scanner.find(text)
        taken = _taken(text, found)
        found += [one for one in self._relative(text, today) if not any(taken[one.start : one.end])]
        intervals = tuple(dict.fromkeys(one.interval for one in sorted(found)))
        closed = any(i.relation != "since" for i in intervals)
        return Scope(intervals, not closed and bool(self._recent.search(text)))

    def _relative(self, text: str, today: datetime) -> list[Found]:
        """Phrases that count from the day of asking, as the library reads them."""
        found = []
        for match in self._last.finditer(text):
            phrase = "".join(filter(None, match.groups()))
            if reading := self._lexicon.read(phrase, today):
                found.append(Found(*match.span(), Interval(reading[0].toordinal(), today.toordinal(), "last")))
        taken = _taken(text, found)
        for match in self._lexicon.relative.finditer(text):  # One behind the other.
            one = self._lexicon.interval(match[0], today)
            if one and not any(taken[match.start() : match.end()]):
                found.append(Found(*match.span(), one))
        return found

    @cached_property
    def _last(self) -> re.Pattern[str]:
        last = "|".join(sorted(phrases(self.languages, "last"), key=len, reverse=True))
        number, units = self._lexicon.number, "|".join(sorted(self._lexicon.units, key=len, reverse=True))
        either = rf"(?:{last})\s+({number}\s+(?:{units}))|({number}\s+)(?:{last})\s+({units})"
        return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)

    @cached_property
    def _recent(self) -> re.Pattern[str]:
        found = sorted(phrases(self.languages, "recent"), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, found))})(?!\w)", re.IGNORECASE)


def _taken(text: str, found: Iterable[Found]) -> bytearray:
    """1 for each character that one of the expressions holds. Linear in their lengths."""
    taken = bytearray(len(text))
    for one in found:
        taken[one.start : one.end] = b"\1" * (one.end - one.start)
    return taken


@lru_cache(maxsize=8)
def time_parser(languages: Languages) -> TimeParser:
    """Made once for a choice of languages."""
    return TimeParser(languages)
