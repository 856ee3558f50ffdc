"""What refiners share that read with a local language model."""

from __future__ import annotations

from typing import ClassVar

from fovea.pipelines.answering.pointing import Pointing
from fovea.rag.retrieval import Refiner


class ReadingRefiner(Pointing, Refiner):
    """A refiner with a model; its scores are no probabilities."""

    hides: ClassVar[frozenset[str]] = frozenset({"probabilities"})
