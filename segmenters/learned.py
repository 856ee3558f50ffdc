"""LearnedSegmenter: a gap segmenter with trained weights that read one encoder's vectors."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from rag.encoder import Encoder
from rag.trained import Trained, load
from segmenters.gaps import GapSegmenter

if TYPE_CHECKING:
    import numpy as np

    from segmenters.units import Units


class LearnedSegmenter(GapSegmenter):
    """Loads weights on first use and refuses an encoder they were not trained on."""

    weights: str
    """The name of shipped weights, or the path of one's own."""
    encoder: Encoder | None = None
    """Whose vectors the weights read. Left out, the pipeline's encoder, so that each token is encoded once."""

    @cached_property
    def trained(self) -> Trained:
        """The weights. Raises ModelError where they cannot be had."""
        return load(self.weights, self.name)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the results: settings and the content of the weights, wherever they lie."""
        return self.fingerprint_with(weights=self.trained.digest)

    def vectors(self, units: Units, encoder: Encoder) -> np.ndarray:
        """Vectors of the units by the encoder of the weights: float32 `(units, dim)`.

        Raises ConfigError where the encoder is another one.
        """
        reader = self.encoder or encoder
        self.trained.check(reader)
        return units.vectors(reader)
