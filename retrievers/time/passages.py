"""The times of chunks: what their texts name, and the dates of their documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isinf
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from fovea.rag import trace
from fovea.rag.types import Chunk, Hit, Scalar
from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.lexicon import lexicon
from fovea.retrievers.time.parser import SPOKEN, Languages
from fovea.retrievers.time.scan import scanner

DATES = ("published_at", "published", "date")
"""Metadata that say of when a document is."""
REMEMBERED = 200_000
"""Chunks whose times are kept."""
UNDATED = "passages that name no time could not be judged by it"


def _some(languages: Languages) -> Languages:
    if not languages:
        raise ValueError("at least one language is needed")
    return languages


Spoken = Annotated[Languages, AfterValidator(_some)]


class Times(NamedTuple):
    """`told`: the intervals that the text names; `of`: that of the document's own date, where its metadata have one."""

    told: tuple[Interval, ...]
    of: Interval | None

    @property
    def stated(self) -> tuple[Interval, ...]:
        """What is held against a question: what the text names, or else the document's date. A document that tells of
        1950 is not of the year in which it was published.
        """
        return self.told or ((self.of,) if self.of else ())

    @property
    def newest(self) -> tuple[Interval, ...]:
        """What says how new the passage is: the document's date, or else what the text names."""
        return (self.of,) if self.of else self.told


class PassageTimes:
    """Reads the times of chunks, and remembers what their texts name by the chunk's id."""

    def __init__(self, languages: Languages = SPOKEN, dates: Sequence[str] = DATES) -> None:
        self.languages, self.dates = languages, tuple(dates)
        self._scanner = scanner(languages)
        self._known: dict[str, tuple[Interval, ...]] = {}

    def of(self, chunk: Chunk) -> Times:
        """The times of one chunk."""
        if (told := self._known.get(chunk.id)) is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            told = self._known[chunk.id] = self._scanner.intervals(chunk.text)
        return Times(told, self._date(chunk))

    def of_hits(self, hits: Iterable[Hit]) -> list[Times]:
        """Those of hits; a counted warning says how many name no time."""
        found = [self.of(hit.chunk) for hit in hits]
        trace.warn(UNDATED, sum(not times.stated for times in found))
        return found

    def _date(self, chunk: Chunk) -> Interval | None:
        value = next((chunk.metadata[key] for key in self.dates if key in chunk.metadata), None)
        if value is None:
            return None
        if (found := _dated(value, self.languages)) is None:
            trace.warn("dates of documents could not be read")
        return found


@lru_cache(maxsize=65_536)
def _dated(value: Scalar, languages: Languages) -> Interval | None:
    """The day, month or year of a metadata value: what the scanner reads (ISO 8601, years), or else the library."""
    found = scanner(languages).intervals(str(value))
    if found and not (isinf(found[0].start) or isinf(found[0].end)):
        return found[0]
    return lexicon(languages).interval(str(value), datetime.now(UTC).replace(tzinfo=None))


@lru_cache(maxsize=8)
def passage_times(languages: Languages, dates: tuple[str, ...] = DATES) -> PassageTimes:
    """Made once for a choice of languages and fields, so that several stages read a chunk once."""
    return PassageTimes(languages, dates)
