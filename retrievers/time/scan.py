"""Every expression of time in a text: its dates (`fovea.retrievers.time.dates`), what counts from a day where that is
known (`anchored`), and what the words around them make of both (`bounds`).
"""

from __future__ import annotations

from functools import lru_cache

from fovea.retrievers.time.anchored import Anchored, Now, taken
from fovea.retrievers.time.bounds import Bounds
from fovea.retrievers.time.chinese import Chinese
from fovea.retrievers.time.dates import Dates
from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.found import Found
from fovea.retrievers.time.lexicon import lexicon


class Scanner:
    """Reads texts in some languages."""

    def __init__(self, languages: tuple[str, ...]) -> None:
        known = lexicon(tuple(name for name in languages if name != "zh") or ("en",))
        self._dates, self._anchored, self._bounds = Dates(known), Anchored(known), Bounds(known)
        self._chinese = Chinese() if "zh" in languages else None

    def intervals(self, text: str, now: Now | None = None) -> tuple[Interval, ...]:
        """The intervals that a text names, each once, in order. About linear in the numbers it holds; in its length,
        where `now` is given.
        """
        return tuple(dict.fromkeys(found.interval for found in self.find(text, now)))

    def find(self, text: str, now: Now | None = None) -> list[Found]:
        """The expressions of a text in order, ranges joined and relations read; those that count from a day, from that
        of `now`.
        """
        chinese = self._chinese.find(text, now) if self._chinese else []
        dates = _apart(text, chinese, self._dates.find(text))
        if now is not None:
            dates = sorted([*dates, *_apart(text, [*chinese, *dates], self._anchored.find(text, now))])
        return sorted([*chinese, *self._bounds.read(text, dates)])


def _apart(text: str, known: list[Found], found: list[Found]) -> list[Found]:
    """Those that have no character in common with the known ones."""
    if not known:
        return found
    held = taken(text, known)
    return [one for one in found if not any(held[one.start : one.end])]


@lru_cache(maxsize=8)
def scanner(languages: tuple[str, ...]) -> Scanner:
    """Made once for a choice of languages."""
    return Scanner(languages)
