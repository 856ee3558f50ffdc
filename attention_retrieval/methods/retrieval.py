"""RetrievalAttention: decode over a long text by searching its keys.

    out = merge(attend(q, sinks + window + pending), attend(q, top_k of index.search(q)))

The prompt is read with full attention. Its first and last tokens stay beside the model; the others go to an index that
learns from the prompt's own queries (queries and keys are distributed differently: what is near in the usual sense is
not what a query wants). A decoded token attends to the few keys that its queries find, and to what stays beside the
model; the two parts become one by their log-sum-exp. (D. Liu et al., "RetrievalAttention: Accelerating long-context
LLM inference via vector retrieval", 2024)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fovea.attention_retrieval.settings import RetrievalSettings


class Retrieval(RetrievalSettings, name="retrieval"):
    """Sinks, window and the `top_k` keys that an index finds, per kv head, for each query of its group."""

    def implementation(self) -> str:
        """`fovea_retrieval`."""
        from fovea.attention_retrieval.hf import IMPLEMENTATION

        return IMPLEMENTATION

    def cache(self, config: Any) -> Any:
        """A RetrievalCache."""
        from fovea.attention_retrieval.hf import RetrievalCache

        return RetrievalCache(config, self)

    def summary(self, cache: Any) -> str:
        """The engine and why, and means over heads."""
        return str(cache.report().summary)

    @property
    def wants_heads(self) -> bool:
        """Where `watch` is `auto`."""
        return self.watch == "auto"

    def with_heads(self, heads: Sequence[tuple[int, int]]) -> Retrieval:
        """The same, watching these."""
        return self.model_copy(update={"watch": tuple(heads)})

    @property
    def wants_table(self) -> str:
        """What the policy of heads does."""
        return self.heads.wants_table if self.heads else ""

    def with_table(self, scores: Mapping[str, list[list[float]]]) -> Retrieval:
        """The same, its policy of heads with these."""
        return self.model_copy(update={"heads": self.heads and self.heads.with_table(scores)})

    def attended(self, cache: Any) -> np.ndarray | None:
        """The mean over the watched heads, where `watch` is set."""
        return cache.looked() if self.watch else None
