"""Embedding breakpoints: cut where the meaning of neighbouring sentences jumps.

Each sentence is encoded together with `buffer` sentences on either side; d_i = 1 - cos(g_i, g_{i+1}) is the distance
across the join of sentences i and i + 1, and the text is cut where d_i exceeds a threshold made of all the distances:

    percentile           the `amount`-th percentile of d                        95
    standard_deviation   mean(d) + amount * std(d)                               3
    interquartile        mean(d) + amount * (q75(d) - q25(d))                    1.5
    gradient             where the gradient of d exceeds its own percentile     95

G. Kamradt, "5 levels of text splitting" (2023), with the four rules of the SemanticChunker that grew out of it. Where a
chunk would be larger than `max_tokens`, it is cut at the greatest of its distances that serve.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, NonNegativeInt, model_validator

from fovea.rag.segmenter import Cut, Segmenter
from fovea.rag.sentences import sentences
from fovea.rag.types import Document, Span

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder
    from fovea.segmenters.units import Units

Rule = Literal["percentile", "standard_deviation", "interquartile", "gradient"]
AMOUNTS = {"percentile": 95.0, "standard_deviation": 3.0, "interquartile": 1.5, "gradient": 95.0}
BATCH = 512
"""Sentence groups given to the encoder at a time."""


class EmbeddingBreakpointSegmenter(Segmenter, name="embedding_breakpoint"):
    """Cuts where the distance between neighbouring sentence groups is an outlier of its document."""

    threshold: Rule = "percentile"
    """What counts as an outlier."""
    amount: Annotated[float, Field(gt=0)] | None = None
    """How far out: a percentile, or a number of deviations or ranges. Left out, what the rule is usually given."""
    buffer: NonNegativeInt = 1
    """Sentences on either side that are encoded together with each sentence."""

    @model_validator(mode="after")
    def _percentile_fits(self) -> EmbeddingBreakpointSegmenter:
        if self.threshold in ("percentile", "gradient") and (self.amount or 0) > 100:
            raise ValueError(f"amount ({self.amount}) is a percentile for {self.threshold!r} and at most 100")
        return self

    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterator[Cut]:
        """A cut with score 1 at every outlier; the other joins score by their distance, all below 1."""
        spans = sentences(text)
        if len(spans) < 2:
            return
        from fovea.segmenters.decode import settled

        found = settled(distances(text, spans, encoder, self.buffer))
        out = outliers(found, self.threshold, self._amount)
        top = max(float(found.max()), 1e-9)
        for span, distance, cut in zip(spans[1:], found.tolist(), out.tolist()):
            yield Cut(span.start, 1.0 if cut else 0.1 + 0.8 * max(distance, 0.0) / top)

    def boundaries(self, units: Units, encoder: Encoder, count: int | None = None) -> np.ndarray:
        """The outliers among the gaps of given units, or the `count` greatest distances: bool `(gaps,)`."""
        from fovea.segmenters.decode import best, settled

        found = settled(distances(units.text, units.spans, encoder, self.buffer))
        return outliers(found, self.threshold, self._amount) if count is None else best(found, count)

    @property
    def _amount(self) -> float:
        return AMOUNTS[self.threshold] if self.amount is None else self.amount


def distances(text: str, spans: Sequence[Span], encoder: Encoder, buffer: int) -> np.ndarray:
    """Cosine distances across the joins of sentences: float32 `(len(spans) - 1,)`, in [0, 2]."""
    import numpy as np

    last = len(spans) - 1
    groups = [text[spans[max(0, i - buffer)].start : spans[min(last, i + buffer)].end] for i in range(len(spans))]
    vectors = np.concatenate([encoder.encode(groups[at : at + BATCH]) for at in range(0, len(groups), BATCH)])
    return np.array([1 - a @ b for a, b in pairwise(vectors)], dtype=np.float32)


def outliers(distances: np.ndarray, rule: Rule, amount: float) -> np.ndarray:
    """Which distances the rule calls outliers: bool `(joins,)`. A single distance has no gradient and is none."""
    import numpy as np

    measured = distances
    if rule == "gradient":
        measured = np.gradient(distances) if len(distances) > 1 else np.zeros_like(distances)
    if rule in ("percentile", "gradient"):
        threshold = np.percentile(measured, amount)
    elif rule == "standard_deviation":
        threshold = measured.mean() + amount * measured.std()
    else:
        low, high = np.percentile(measured, [25, 75])
        threshold = measured.mean() + amount * (high - low)
    return measured > threshold
