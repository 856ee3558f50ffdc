"""What refiners that look at times share: the languages read, and the unit in which a gain is added to a score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query
from fovea.retrievers.scales import deviation
from fovea.retrievers.time.parser import SPOKEN, Scope, time_parser
from fovea.retrievers.time.passages import DATES, Spoken, Times, passage_times


class TimeRefiner(Refiner):
    """Reads the times of the question and of the hits. Needs the extra `time`."""

    packages: ClassVar[Mapping[str, str]] = {"dateparser": "time"}

    languages: Spoken = SPOKEN
    """Languages of questions and passages, as the library dateparser writes them; the first decides how 03/04/2015 is
    read."""
    dates: tuple[str, ...] = DATES
    """Metadata of documents that hold their dates; the first one there counts, or else the day in the title."""
    looks_back: bool = False
    """Where neither says a day, take the last one that begins a line of the document before the passage ("[2023-05-08
    10:30] Ann:", "## 8 May 2023"): for logs, diaries and dialogues."""

    def scope(self, query: Query) -> Scope:
        """What the question says of time; raises MissingExtra without the library."""
        return time_parser(self.languages).read(query.text, query.as_of)

    def times_of(self, hits: Sequence[Hit], corpus: Corpus) -> list[Times]:
        """The times of the hits; a counted warning says how many name none."""
        return passage_times(self.languages, self.dates, looks_back=self.looks_back).of_hits(hits, corpus)

    def raised(self, hits: Sequence[Hit], gains: Sequence[float], weight: float, corpus: Corpus) -> list[Hit]:
        """The hits with `weight * gain` deviations of similarity added to their scores, best first; of equal ones the
        order stays.
        """
        unit = weight * deviation(hits, corpus)
        found = [hit.scored(self.name, hit.score + unit * gain) for hit, gain in zip(hits, gains)]
        return sorted(found, key=lambda hit: -hit.score)
