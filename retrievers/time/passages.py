"""The times of chunks: what their texts name, and the dates of their documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import isinf
from typing import Annotated, NamedTuple

from pydantic import AfterValidator

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.types import Chunk, Hit, Scalar
from fovea.retrievers.time.days import Interval
from fovea.retrievers.time.diary import Diary, diary, last_before, told_by
from fovea.retrievers.time.lexicon import lexicon
from fovea.retrievers.time.parser import SPOKEN, Languages
from fovea.retrievers.time.scan import scanner

DATES = ("published_at", "published", "date")
"""Metadata that say of when a document is."""
REMEMBERED = 200_000
"""Chunks whose times are kept."""
REMEMBERED_DIARIES = 4096
"""Documents whose lines that begin with a day are kept."""
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
    """Reads the times of chunks, and remembers what their texts name by the chunk's id and date.

    A chunk's own date is that of the document's metadata, or else the day that its title names, or, where `looks_back`
    says so, the last day that stands at the beginning of a line of its document before it ("[2023-05-08 10:30] Ann:"
    and "## 8 May 2023"). Expressions such as "yesterday" count from it; behind a day at the beginning of a line of the
    chunk itself, from that one.
    """

    def __init__(
        self, languages: Languages = SPOKEN, dates: Sequence[str] = DATES, *, looks_back: bool = False
    ) -> None:
        self.languages, self.dates, self.looks_back = languages, tuple(dates), looks_back
        self._scanner = scanner(languages)
        self._known: dict[tuple[str, Interval | None], tuple[Interval, ...]] = {}
        self._diaries: dict[tuple[str, str], Diary] = {}

    def of(self, chunk: Chunk, corpus: Corpus | None = None) -> Times:
        """The times of one chunk; the document that it looks back into is that of `corpus`."""
        own = self._date(chunk) or self._titled(chunk.title) or self._before(chunk, corpus)
        key = chunk.id, own
        if (told := self._known.get(key)) is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            told = self._known[key] = told_by(chunk.text, self._scanner, own)
        return Times(told, own)

    def of_hits(self, hits: Iterable[Hit], corpus: Corpus | None = None) -> list[Times]:
        """Those of hits; a counted warning says how many name no time."""
        found = [self.of(hit.chunk, corpus) for hit in hits]
        trace.warn(UNDATED, sum(not times.stated for times in found))
        return found

    def _before(self, chunk: Chunk, corpus: Corpus | None) -> Interval | None:
        """The last day at the beginning of a line of the document before the chunk."""
        if not self.looks_back or corpus is None:
            return None
        key = corpus.version, chunk.document_id
        if (lines := self._diaries.get(key)) is None:
            if len(self._diaries) >= REMEMBERED_DIARIES:
                self._diaries.clear()
            lines = self._diaries[key] = diary(corpus.document(chunk.document_id).text, self._scanner)
        return last_before(lines, chunk.start)

    def _titled(self, title: str) -> Interval | None:
        days = [one for one in self._scanner.intervals(title) if one.start == one.end] if title else []
        return days[0] if len(days) == 1 else None

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
def passage_times(languages: Languages, dates: tuple[str, ...] = DATES, *, looks_back: bool = False) -> PassageTimes:
    """Made once for a choice of languages and fields, so that several stages read a chunk once."""
    return PassageTimes(languages, dates, looks_back=looks_back)
