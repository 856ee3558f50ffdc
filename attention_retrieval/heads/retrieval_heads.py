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

from fovea.attention_retrieval.head_files import rectangular
from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.heads.scores import all_or, best, by_group, check_shape


class RetrievalHeads(Heads, name="retrieval_heads"):
    """Heads by a table of scores."""

    scores: list[list[FiniteFloat]] | Literal["auto"] = "auto"
    """How much each query head looks things up, a row a layer; `auto` takes those of the model's own table, made at
    first use, as `fovea heads MODEL --kind copy` does."""

    by: Literal["copy", "influence"] = "copy"
    """Whose scores `auto` takes: those of heads that copy, or by how much worse the model reads without a head
    (AttentionInfluence; `fovea heads MODEL --kind influence`)."""

    keep: Annotated[float, Field(ge=0, le=1)] = 0.5
    """The share of kv heads that read the whole text."""

    window: PositiveInt = 256
    """The last tokens that the others read."""

    @field_validator("scores")
    @classmethod
    def _table(cls, scores: list[list[float]] | str) -> list[list[float]] | str:
        return scores if isinstance(scores, str) else list(map(list, rectangular(scores)))

    @property
    def wants_table(self) -> str:
        """`by`, where they are `auto`."""
        return self.by if self.scores == "auto" else ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> RetrievalHeads:
        """The same, by these."""
        return self.model_copy(update={"scores": scores[self.by]})

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Scores must be those of a model of this shape."""
        check_shape(self.scores, layers, query_heads, f"fovea heads MODEL --kind {self.by}")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """All, or `window`."""
        assert not isinstance(self.scores, str)
        table = by_group(self.scores, kv_heads)
        return all_or(self.window, best(table, round(self.keep * table.size))[layer], tokens)
