"""What each token of a prompt's one passage is worth to the question, by the attention that it gets from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from fovea.attention_retrieval.probes.weights import Head, evidence_weights, weights
from fovea.pipelines.answering.layout import Layout
from fovea.rag.causal_lm import CausalLM

TokenScores = Callable[[CausalLM, Layout, range], np.ndarray]
"""From a prompt and the tokens of its passage, (tokens of the passage,), 0 or more."""


def pointed_at(heads: Sequence[Head]) -> TokenScores:
    """The mean over `heads` of what the question gives to a token beyond what a question of nothing does."""

    def score(lm: CausalLM, layout: Layout, passage: range) -> np.ndarray:
        asks = layout.tokens(*layout.question)
        seen = evidence_weights(lm, layout.ids, [asks], layout.neutral(lm, 0), heads)
        return seen[:, 0, passage.start : passage.stop].mean(axis=0)

    return score


class LastLayer:
    """The last layer, as InfiniRetri has it: with A the attention summed over its heads, a the question's tokens, and B
    their rows over the passage x, each the sum of a box of `width` columns,

        score(x) = sum_a r_a^2 B[a, x],    r_a = sum over the question's tokens b of A[a, b]

    where r is that of the first prompt, and kept for those after it. The paper's own box is even, and shifts the scores
    by half a token; here it is centred.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: np.ndarray | None = None

    def __call__(self, lm: CausalLM, layout: Layout, passage: range) -> np.ndarray:
        """A whole pass of the model."""
        asks = layout.tokens(*layout.question)
        config = lm.model.config.get_text_config()
        heads = [(config.num_hidden_layers - 1, head) for head in range(config.num_attention_heads)]
        seen = weights(lm, layout.ids, [[row] for row in asks], heads).sum(axis=0)
        if self.rows is None or len(self.rows) != len(asks):
            self.rows = seen[:, asks.start : asks.stop].sum(axis=1)
        box = np.ones(self.width)
        over = np.stack([_centred(row, box) for row in seen[:, passage.start : passage.stop]])
        return self.rows**2 @ over


def _centred(row: np.ndarray, box: np.ndarray) -> np.ndarray:
    half = len(box) // 2
    return np.convolve(row, box)[half : half + len(row)]
