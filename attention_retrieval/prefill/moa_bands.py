"""MoA's bands: each head reads sinks and a span of its own, which grows with the text at a rate of its own.

    span_h(N) = alpha_h + beta_h N,  not below a block nor beyond N,  in whole blocks
    a token reads the key blocks that its block and the span - one before it are, and the sinks

alpha may be negative. N is the length of the whole prompt, which a prompt that comes in pieces does not tell: `length`
says it where it is known; else a token takes the text up to its own block for the whole, so that the last ones read
what the paper has them read, and earlier ones less, in proportion. A kv head takes the widest span of its group, where
the release takes the groups of a model apart. `plan` is that of `heads: {use: moa}`: published, or made by
`fovea train heads moa`.
(T. Fu et al., "MoA: Mixture of sparse attention for automatic large language model compression", 2024, arXiv
2406.14909)
"""

from __future__ import annotations

import numpy as np
from pydantic import FiniteFloat, PositiveInt, model_validator

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.moa_plan import PlanOrPath
from fovea.attention_retrieval.prefill.key_blocks import BlockSize, rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill
from fovea.rag.errors import ConfigError

Table = list[list[FiniteFloat]]


class MoABands(Prefill, name="moa_bands"):
    """Sinks, and a window for each head."""

    plan: PlanOrPath | None = None
    """`{alphas: [[...]], betas: [[...]]}`, or the path of a JSON file of it, or of its folder: in place of both."""

    alphas: FiniteFloat | Table = 0.0
    """Tokens, of all heads or a row a layer with one for each query head."""

    betas: FiniteFloat | Table = 0.5
    """Share of the prompt, likewise."""

    length: PositiveInt | None = None
    """Tokens of the whole prompt, where they are known beforehand."""

    block: BlockSize = 64
    """Tokens of a block, in which spans are counted."""

    @model_validator(mode="after")
    def _alike(self) -> MoABands:
        if self.plan and (self.alphas, self.betas) != (0.0, 0.5):
            raise ValueError("plan says alphas and betas: leave out one or the other")
        shapes = {tuple(len(row) for row in each) for each in (self.alphas, self.betas) if isinstance(each, list)}
        if len(shapes) > 1 or any(len(set(shape)) != 1 or not shape[0] for shape in shapes):
            raise ValueError("alphas and betas are a row a layer, with a number for each query head in both")
        return self

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """A plan must be of a model of this shape."""
        plan = next((each for each in self._rules if isinstance(each, list)), None)
        if plan is not None and (got := (len(plan), len(plan[0]))) != (layers, query_heads):
            what = f"the plan of moa_bands is of {got[0]} layers of {got[1]} heads"
            fix = "make one for this model by `fovea train heads moa`, or give one alpha and one beta for all heads"
            raise ConfigError(f"{what}, the model has {layers} of {query_heads}", where="prefill", fix=fix)

    @property
    def rows(self) -> int:
        """A block: its tokens read the same."""
        return self.block

    def columns(self, block: Block) -> Columns:
        """Of each kv head its own band."""
        own = block.start // self.block
        spans = self.spans(block, self.length or (own + 1) * self.block)
        return Columns(
            [
                rows_of(np.arange(max(own + 1 - span, 0), own + 1), self.block, block.sinks, block.start)
                for span in spans.tolist()
            ]
        )

    def spans(self, block: Block, tokens: int) -> np.ndarray:
        """Blocks that each kv head reads, its own among them, (kv heads,) int64."""
        heads, group = block.queries.shape[:2]
        alpha, beta = (self._of(each, block.layer, heads * group) for each in self._rules)
        wide = np.clip(alpha + beta * tokens, self.block, max(tokens, self.block))
        return np.asarray(np.ceil(wide / self.block).reshape(heads, group).max(axis=1), np.int64)

    @property
    def _rules(self) -> tuple[float | Table, float | Table]:
        """Alphas and betas."""
        return (self.plan.alphas, self.plan.betas) if self.plan else (self.alphas, self.betas)

    def _of(self, given: float | Table, layer: int, query_heads: int) -> np.ndarray:
        """The numbers of a layer's query heads."""
        return np.array(given[layer]) if isinstance(given, list) else np.full(query_heads, given)
