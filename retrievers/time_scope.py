"""Time scope: what fits the time that a question names comes first."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import NonNegativeFloat

from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.time.days import Interval, moment
from fovea.retrievers.time.fit import fit
from fovea.retrievers.time.refiner import TimeRefiner


class TimeScopeRefiner(TimeRefiner, name="time_scope"):
    """Adds `weight * T` to every score, in standard deviations of similarity; T says how well the times that the
    passage names fit those of the question (`fovea.retrievers.time.fit`).

    Nothing is dropped: a passage without a time keeps its score, and a counted warning says so. A question without a
    time leaves the list as it is. O(hits); a passage is read once and remembered.
    """

    weight: NonNegativeFloat = 4.0
    """Deviations that a perfect fit is worth. Over plain dense retrieval, fused lists (calibrated) and any other score,
    a fifth of whose best counts as a deviation."""
    as_of: bool = False
    """Take a question that names no time for one about the moment at which it is asked (`Query.as_of`)."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """All hits, best first; raises MissingExtra without the library that reads dates."""
        asked = self.scope(query).intervals
        unnamed = not asked and self.as_of and query.as_of is not None
        if unnamed and query.as_of is not None:
            asked = (Interval(day := moment(query.as_of) // 1, day),)
        if not asked or not hits:
            return list(hits)
        gains = [fit(asked, times.stated, coarse=unnamed) for times in self.times_of(hits, corpus)]
        return self.raised(hits, gains, self.weight, corpus)
