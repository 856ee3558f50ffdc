"""GapSegmenter: what all segmenters share that score the gaps between units and cut at some of them.

A method says how surely a topic ends at each gap (`scores`), and may say how boundaries are chosen of the scores
(`choose`); text, structure and budgets are dealt with here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.types import Document
from fovea.segmenters.units import Units

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

Probability = Annotated[float, Field(ge=0, le=1)]
LONGEST_PARAGRAPH = 20
"""Units in a paragraph on average, beyond which a text is taken to have no paragraphs worth the name."""


class GapSegmenter(Segmenter):
    """Cuts where the scores of gaps say so, and at headings; every other gap is offered to the packer by its score."""

    candidates: Literal["auto", "all", "paragraphs"] = "auto"
    """Which gaps may be boundaries: all, only those where a paragraph ends, or those where the text has paragraphs."""

    @abstractmethod
    def scores(self, units: Units, encoder: Encoder) -> np.ndarray:
        """How surely a topic ends at each gap: float `(gaps,)` in [0, 1]; `units` holds at least two."""

    @abstractmethod
    def choose(self, scores: np.ndarray, count: int | None) -> np.ndarray:
        """The boundaries among the gaps that may be boundaries: bool `(gaps,)`; exactly `count` where it is given."""

    def boundaries(self, units: Units, encoder: Encoder, count: int | None = None) -> np.ndarray:
        """Where topics end: bool `(gaps,)`. `count` says how many boundaries there are, where that is known."""
        return self._decide(self._settled(units, encoder), units, count)

    def units(self, text: str, media_type: str) -> Units:
        """What the text is seen as a row of: its sentences."""
        return Units.sentences(text, media_type)

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """A cut with score 1 at every boundary and heading; other gaps by the text's own break and their score s:
        strength * (1 + s) / 2, headings by their strength alone.
        """
        import numpy as np

        units = self.units(text, document.media_type)
        if len(units) < 2:
            return
        scores = self._settled(units, encoder)
        offered = units.strength * (1 + np.clip(scores, 0, 1)) / 2
        sure = self._decide(scores, units, None) | units.headings
        final = np.where(sure, 1.0, np.clip(offered, 1e-3, 0.999)).tolist()
        places = [span.start for span in units.spans[1:]]
        yield from map(Cut._make, compress(zip(places, final), (units.strength > 0).tolist()))

    def _settled(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Scores in whole steps; what is under 1 stays under 1."""
        import numpy as np

        from fovea.segmenters.decode import STEP, settled

        scores = self.scores(units, encoder)
        return np.where(scores < 1, np.minimum(settled(scores), 1 - STEP), scores)

    def _decide(self, scores: np.ndarray, units: Units, count: int | None) -> np.ndarray:
        import numpy as np

        may = self._may(units)
        found = np.zeros(len(scores), bool)
        if may.sum() < (count or 0):  # A known number counts for more than the paragraphs.
            may = np.ones(len(scores), bool)
        found[may] = self.choose(np.asarray(scores)[may], count)
        return found

    def _may(self, units: Units) -> np.ndarray:
        """Which gaps may be boundaries: bool `(gaps,)`."""
        return units.breaks if self.at_paragraphs(units) else units.loose

    def at_paragraphs(self, units: Units) -> bool:
        """Whether only ends of paragraphs may be boundaries here."""
        ends = int(units.breaks.sum())
        if self.candidates == "auto":
            return len(units) <= LONGEST_PARAGRAPH * ends
        return self.candidates == "paragraphs" and ends > 0
