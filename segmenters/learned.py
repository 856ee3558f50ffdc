"""LearnedSegmenter: a gap segmenter with trained weights that read one encoder's vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fovea.rag.component import Component
from fovea.rag.encoder import Encoder
from fovea.rag.requirements import Requirement
from fovea.rag.weighted import Weighted
from fovea.segmenters.gaps import GapSegmenter

if TYPE_CHECKING:
    import numpy as np

    from fovea.segmenters.units import Units


class LearnedSegmenter(Weighted, GapSegmenter):
    """Refuses an encoder its weights were not trained on."""

    encoder: Encoder | None = None
    """Whose vectors the weights read. Left out, the pipeline's encoder, so that each token is encoded once."""

    def vectors(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Vectors of the units by the encoder of the weights: float32 `(units, dim)`.

        Raises ConfigError where the encoder is another one.
        """
        self.fit(encoder)
        return units.vectors(self.encoder or encoder)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights read the vectors of `encoder`, or of the segmenter's own."""
        self.trained.check(self.encoder or encoder)

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """Also the weights, and that they fit the encoder that is read with."""
        if self.encoder is not None:
            encoder = None if any(one.lacking for one in self.encoder.requirements()) else self.encoder
        return super().requirements(encoder)
