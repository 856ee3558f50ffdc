"""Time filter: only what speaks of the time that a question names."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import NonNegativeFloat

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query
from fovea.retrievers.time.days import DAYS_A_YEAR
from fovea.retrievers.time.fit import closed
from fovea.retrievers.time.refiner import TimeRefiner


class TimeFilterRefiner(TimeRefiner, name="time_filter"):
    """Drops hits that name times, none of them within `slack` years of one that the question names.

    The usual way, and a baseline: `time_scope` keeps what a filter loses when a passage gives the year differently.
    A question without a time drops nothing.
    """

    slack: NonNegativeFloat = 1.0
    """Years by which a passage may miss."""
    keep_undated: bool = True
    """Keep passages that name no time at all."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The hits that are left, in their order; raises MissingExtra without the library that reads dates."""
        asked = [closed(one) for one in self.scope(query).intervals]
        if not asked:
            return list(hits)
        stage, kept, most = trace.current(), [], self.slack * DAYS_A_YEAR
        for hit, times in zip(hits, self.times_of(hits, corpus)):
            spans = [closed(one) for one in times.stated]
            meets = any(s - end <= most and start - e <= most for s, e in spans for start, end in asked)
            if meets or (self.keep_undated and not spans):
                kept.append(hit)
            else:
                stage.drop(hit, "names no time near that of the question" if spans else "names no time")
        return kept
