"""Keep the first few: for between two stages of which the later one is costly."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query


class TopK(Refiner, name="top_k"):
    """The first `keep` hits."""

    keep: PositiveInt = 10
    """How many hits go on."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """At most `keep` hits, as they were."""
        stage = trace.current()
        for hit in hits[self.keep :]:
            stage.drop(hit, f"below the first {self.keep}")
        return list(hits[: self.keep])
