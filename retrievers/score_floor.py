"""Drop what scores too low: only for scores that mean the same from question to question."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import FiniteFloat

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query


class ScoreFloor(Refiner, name="score_floor"):
    """Drops hits whose score is under `least`.

    A cosine (`of: dense`) and a cross-encoder's probability can be held against a fixed number. BM25 grows with the
    length of the question, and the scores of fusers depend on what else was found: a floor on those cuts at random.
    """

    least: FiniteFloat
    """Hits under it are dropped."""
    of: str | None = None
    """The stage whose score counts, such as `dense`; the last one's if left out."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The hits at or over the floor, in their order. A hit that the stage `of` has not scored is dropped; raises
        ConfigError where it scored none.
        """
        if hits and self.of is not None and not any(self.of in hit.scores for hit in hits):
            known = sorted({name for hit in hits for name in hit.scores})
            raise ConfigError(f"score_floor: no hit has a score of {self.of!r}", got=self.of, allowed=known)
        stage, kept = trace.current(), []
        for hit in hits:
            score = hit.score if self.of is None else hit.scores.get(self.of)
            if score is None:
                stage.drop(hit, f"not scored by {self.of}")
            elif score < self.least:
                stage.drop(hit, f"{self.of or 'score'} {score:.4g} is under {self.least:g}")
            else:
                kept.append(hit)
        return kept
