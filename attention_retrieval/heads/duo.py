"""DuoAttention: retrieval heads read everything, streaming heads sinks and the last tokens, as optimised for a model.

    out = alpha * full + (1 - alpha) * streaming        alpha (layers, kv heads), trained; 1 is a retrieval head
    reads everything  where alpha is among the `keep` share of the largest, or, with `keep: null`, 0.5 or more

Alphas are trained by `fovea train heads duo` (its loss is in `probes/alphas.py`), which writes them as the paper's
authors publish theirs: a line a layer, a number a kv head, parted by tabs. Without training, `scores: auto` takes
kvpress's estimate from the model's table (`fovea heads MODEL --kind duo`, `probes/far.py`), the mean of each group.
Of equals those of lower layers are kept, where the release adds noise. A head that streams does so from the first
decoded token; the release reads the prompt's first piece in full as well, and streams while it reads the others.
(Xiao et al., "DuoAttention: efficient long-context LLM inference with retrieval and streaming heads", 2024, arXiv
2410.10819; sinks 128 and window 256 are its release's)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt, ValidationInfo, field_validator

from fovea.attention_retrieval.head_files import rectangular, table_of
from fovea.attention_retrieval.heads.heads import Heads
from fovea.attention_retrieval.heads.scores import all_or, best, check_shape


class Duo(Heads, name="duo"):
    """Heads by trained alphas, or by an estimate of them."""

    scores: list[list[FiniteFloat]] | Literal["auto"] | str = "auto"
    """Alpha of each kv head, a row a layer, or the path of a file of them, or of its folder; `auto` takes the estimate
    in the model's own table, made at first use, as `fovea heads MODEL --kind duo` does."""

    keep: Annotated[float, Field(ge=0, le=1)] | None = 0.5
    """The share of kv heads that read the whole text; null takes those with an alpha of 0.5 or more."""

    window: PositiveInt = 256
    """The last tokens that the others read."""

    @field_validator("scores")
    @classmethod
    def _table(cls, scores: Any, info: ValidationInfo) -> Any:
        if scores == "auto":
            return scores
        table = rectangular(table_of(scores, "duo", info) if isinstance(scores, str) else scores)
        return np.clip(np.array(table), 0, 1).tolist()

    @property
    def wants_table(self) -> str:
        """`duo`, where they are `auto`."""
        return "duo" if self.scores == "auto" else ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> Duo:
        """The same, by these: one a query head, of which each kv head takes the mean when its layer is known."""
        return self.model_copy(update={"scores": scores["duo"]})

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Scores must be those of a model of this shape, a number a kv head, or a query head."""
        of_queries = not isinstance(self.scores, str) and {len(row) for row in self.scores} == {query_heads}
        check_shape(self.scores, layers, query_heads if of_queries else kv_heads, "fovea heads MODEL --kind duo")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """All, or `window`."""
        table = np.array(self.scores, np.float64)
        table = table.reshape(len(table), kv_heads, -1).mean(axis=2)
        reads = table >= 0.5 if self.keep is None else best(table, round(self.keep * table.size))
        return all_or(self.window, reads[layer], tokens)
