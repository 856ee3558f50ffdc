"""LearnedSegmenter: a gap segmenter with trained weights that read one encoder's vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fovea.rag.encoder import Encoder
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
        reader = self.encoder or encoder
        self.trained.check(reader)
        return units.vectors(reader)
