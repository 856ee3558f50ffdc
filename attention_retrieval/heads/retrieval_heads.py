"""Retrieval heads read everything; the others stream.

A kv head is as good at looking things up as the best query head of its group. The `keep` share of all kv heads with the
highest scores reads the whole text, the others sinks and window. Small models have few heads that lose nothing so:
measured before it is used, by `fovea bench longcontext`.
(W. Wu et al., "Retrieval head mechanistically explains long-context factuality", 2024, arXiv 2404.15574; the cut by a
quantile over all layers is DuoAttention's, arXiv 2410.10819)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt, field_validator

from fovea.attention_retrieval.heads.heads import Heads
from fovea.rag.errors import ConfigError


class RetrievalHeads(Heads, name="retrieval_heads"):
    """Heads by a table of scores."""

    scores: list[list[FiniteFloat]] | Literal["auto"] = "auto"
    """How much each query head looks things up, a row a layer; `auto` takes those of the model's own table, made at
    first use, as `fovea heads MODEL --kind copy` does."""

    keep: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of kv heads that read the whole text."""

    window: PositiveInt = 256
    """The last tokens that the others read."""

    @field_validator("scores")
    @classmethod
    def _table(cls, scores: list[list[float]] | str) -> list[list[float]] | str:
        if not isinstance(scores, str) and (len({len(row) for row in scores}) != 1 or not scores[0]):
            raise ValueError("scores must be a row a layer, with as many numbers in each")
        return scores

    @property
    def wants_table(self) -> str:
        """`copy`, where they are `auto`."""
        return "copy" if self.scores == "auto" else ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> RetrievalHeads:
        """The same, by these."""
        return self.model_copy(update={"scores": scores["copy"]})

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Scores must be those of a model of this shape."""
        if isinstance(self.scores, str):
            what = "scores: auto takes those of the model's table, which a pipeline's generator reads"
            raise ConfigError(
                what, where="heads", fix="give the scores that `fovea heads MODEL --kind copy --json` prints"
            )
        got = [len(row) for row in self.scores]
        if got != [query_heads] * layers:
            shape = f"{len(got)} layers of {' or '.join(str(n) for n in sorted(set(got)))} heads"
            raise ConfigError(f"the scores of heads are of {shape}, the model has {layers} of {query_heads}")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """All, or `window`."""
        reads = self._by_group(kv_heads)[layer] >= self._least(kv_heads)
        return np.where(reads, max(tokens, 1), min(self.window, max(tokens, 1)))

    def _by_group(self, kv_heads: int) -> np.ndarray:
        """The best of each group, (layers, kv heads)."""
        table = np.array(self.scores, np.float64)
        return table.reshape(len(table), kv_heads, -1).max(axis=2)

    def _least(self, kv_heads: int) -> float:
        """The score of the last head that reads."""
        best = np.sort(self._by_group(kv_heads), axis=None)[::-1]
        count = round(self.keep * len(best))
        return float(best[count - 1]) if count else float("inf")
