"""StreamingLLM: a decoded token attends to the first tokens and the last ones, and to nothing between them.

    out = attend(q, sinks + window)

Softmax must put its weight somewhere, and models put it on the first tokens: kept, they hold the rest in shape, and
text goes on fluently at a constant cost. What has left the window is gone, so a fact in it is not found: the row to
compare retrieval with. Positions stay those of the text; the paper counts them anew within what is kept, which a model
needs only beyond the length it was made for. (Xiao et al., "Efficient Streaming Language Models with Attention Sinks",
2023, arXiv 2309.17453)
"""

from __future__ import annotations

from typing import Any

from pydantic import NonNegativeInt, PositiveInt

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.methods.retrieval import Retrieval
from fovea.attention_retrieval.prefill.prefill import Prefill
from fovea.attention_retrieval.vectors import Dtype


class Streaming(Attention, name="streaming"):
    """Sinks and window alone: `retrieval` with a `top_k` of 0. The prompt is read with full attention."""

    sinks: NonNegativeInt = 4
    """The first tokens, which every query attends to."""

    window: PositiveInt = 1020
    """The last tokens, which every query attends to."""

    dtype: Dtype = "bf16"
    """How keys and values are kept: bf16, int8 with one scale a token, or fp32."""

    prefill: Prefill | None = None
    """While the prompt is read, what a token reads of those before it: `{use: band, ...}`; all, if left out."""

    def implementation(self) -> str:
        """`fovea_retrieval`, which serves what is near as well."""
        return Retrieval().implementation()

    def cache(self, config: Any) -> Any:
        """A RetrievalCache that searches for nothing."""
        own = {name: getattr(self, name) for name in type(self).model_fields}
        return Retrieval(**own, top_k=0, dense_below=0).cache(config)

    def summary(self, cache: Any) -> str:
        """What was read."""
        return f"{self.sinks:,} sinks and a window of {self.window:,} tokens"
