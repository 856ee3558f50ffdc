"""Recency: the newer, the better, where a question asks for the newest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import NonNegativeFloat, PositiveFloat

from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.time.days import moment
from fovea.retrievers.time.fit import recency
from fovea.retrievers.time.refiner import TimeRefiner


class RecencyRefiner(TimeRefiner, name="recency"):
    """Adds `weight * 2^(-age / half_life)` to the scores of a question that asks for the newest ("now", "latest"), in
    standard deviations of similarity. The age is that of the document's date, or else of the newest time that the
    passage names, at the moment of asking; what lies after it counts for nothing.

    Decay on every question puts yesterday's news over the history that was asked for: `always` is for measuring that,
    and for feeds in which only the newest matters.
    """

    weight: NonNegativeFloat = 2.0
    """Deviations that a passage of this very moment gains."""
    half_life: PositiveFloat = 365.0
    """Days after which the gain is half as large: 1/24 for an hour."""
    always: bool = False
    """Also for questions that do not ask for the newest."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """All hits, best first; raises MissingExtra without the library that reads dates."""
        if not hits or not (self.always or self.scope(query).recent):
            return list(hits)
        now = moment(query.as_of) if query.as_of else moment(datetime.now(UTC)) // 1  # Today, not this very second.
        gains = [recency(times.newest, now, self.half_life) for times in self.times_of(hits, corpus)]
        return self.raised(hits, gains, self.weight, corpus)
