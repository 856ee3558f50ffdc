"""What a question says of time: the intervals it names, and whether it asks for the newest.

"Who led it from Apr 1926 to 1927?"   from-to [1926-04-01, 1927-12-31]
"Wer gewann vor drei Jahren?"         at [2017-01-01, 2017-12-31], asked on a day of 2020
"Who coaches the team now?"           recent
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import NamedTuple

from fovea.retrievers.time.anchored import Now
from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time.words import phrases

Languages = tuple[str, ...]
SPOKEN: Languages = ("en", "de", "fr", "es", "zh")
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
        self.languages, self._scanner = languages, scanner(languages)

    def read(self, text: str, today: datetime | None = None) -> Scope:
        """What `text` says of time when it is asked on `today` (now, where that is None)."""
        now = datetime.now(UTC) if today is None else today
        return self._read(text, now.astimezone(UTC).replace(tzinfo=None) if now.tzinfo else now)

    def _read(self, text: str, today: datetime) -> Scope:
        intervals = self._scanner.intervals(text, Now(today.date()))
        closed = any(i.relation != "since" for i in intervals)
        return Scope(intervals, not closed and bool(self._recent.search(text)))

    @cached_property
    def _recent(self) -> re.Pattern[str]:
        found = sorted(phrases(self.languages, "recent"), key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, found))})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=8)
def time_parser(languages: Languages) -> TimeParser:
    """Made once for a choice of languages."""
    return TimeParser(languages)
