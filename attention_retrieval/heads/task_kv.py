"""Task-KV: the heads that think otherwise than the rest of their layer, on this very text, read all of it.

    c_h   = mean attention of the prompt's last `queries` tokens to each token before them, the mean over the group
    v_h   = sum over the `top` tokens of largest c_h of  c_h,i v_i          the head's semantic vector, (d,)
    read everything   the f heads whose v_h are furthest from the layer's mean, and the one that is nearest
    f     = from `first` of the kv heads in the first layer down to `last` of them in the last, one at least
    the others        sinks, the last `window` tokens, and the k "middle" tokens of largest c_h between them
    k     = (budget n N - (f + 1) N) / (n - f - 1) - window,  0 at least: what the layer's budget leaves

The paper's k takes f for f + 1, as if the nearest head cost nothing, and counts query heads; here heads are kv heads.
With few of these a layer the budget is often spent by those that read everything, and k is 0.
(X. He et al., "Task-KV: task-aware KV cache optimization via semantic differentiation of attention heads", 2025, arXiv
2501.15113)
"""

from __future__ import annotations

import math
from typing import Annotated, cast

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.heads.heads import Heads, Reach
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]


class TaskKV(Heads, name="task_kv"):
    """Heads by what they take from this text."""

    layers: PositiveInt | None = None
    """The model's, over which `first` falls to `last`; left out, every layer has `first`."""

    first: Share = 0.25
    """The share of a layer's kv heads that read everything for being far from the others, in the first layer."""

    last: Share = 0.125
    """The same in the last layer."""

    budget: Share = 0.4
    """The share of a layer's rows that its heads read, all together; what is left goes to the middle tokens."""

    window: PositiveInt = 256
    """The last tokens that the other heads read."""

    last_tokens: PositiveInt = 32
    """The prompt's last tokens, whose attention is looked at."""

    top: PositiveInt = 256
    """Tokens that a head's semantic vector is made of."""

    @property
    def queries(self) -> int:
        """`last_tokens`."""
        return self.last_tokens

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """`layers` must be the model's, where it is given."""
        if self.layers not in (None, layers):
            what = f"task_kv is set for a model of {self.layers} layers, this one has {layers}"
            raise ConfigError(what, where="heads", fix=f"layers: {layers}")

    def windows(self, layer: int, kv_heads: int, tokens: int) -> np.ndarray:
        """All of them: of a text that nothing is known of, every head reads everything."""
        return np.full(kv_heads, max(tokens, 1), np.int64)

    def reach(
        self, layer: int, keys: Vectors, values: Vectors, queries: np.ndarray | None = None, read: int = 0
    ) -> Reach:
        """O(queries * rows * d) a head."""
        tokens, heads = len(keys), keys.heads
        before = 0 if queries is None else read - queries.shape[2]
        if queries is None or before < 1:
            return super().reach(layer, keys, values)
        seen = [mean_attention(queries[head], keys.head(head).block(0, read)) for head in range(heads)]
        full = self._full(layer, np.stack([self._vector(c, values, head) for head, c in enumerate(seen)]))
        count = self._middle(tokens, heads, int(full.sum()), before)
        middle = np.full((heads, count), -1, np.int64)
        for head in np.flatnonzero(~full).tolist():
            middle[head] = np.sort(np.argsort(-seen[head], kind="stable")[:count])
        return Reach(np.where(full, tokens, min(self.window, tokens)).astype(np.int64), middle)

    def _vector(self, c: np.ndarray, values: Vectors, head: int) -> np.ndarray:
        """A head's semantic vector, (d,), float32."""
        best = np.sort(np.argsort(-c, kind="stable")[: self.top])
        return cast(np.ndarray, c[best] @ values.head(head).take(best))

    def _full(self, layer: int, vectors: np.ndarray) -> np.ndarray:
        """Which of the heads read everything, (kv heads,) bool."""
        far = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
        far = np.round(far / max(float(far.max()), 1e-30), 4)  # two heads are as far: no rounding shall part them
        depth = layer / max(self.layers - 1, 1) if self.layers else 0.0
        share = self.first - (self.first - self.last) * min(depth, 1.0)
        full = np.zeros(len(far), bool)
        full[np.argsort(-far, kind="stable")[: max(math.ceil(share * len(far)), 1)]] = True
        full[np.argmin(far)] = True
        return full

    def _middle(self, tokens: int, heads: int, full: int, most: int) -> int:
        """How many middle tokens each of the other heads has."""
        if full == heads:
            return 0
        left = (self.budget * heads - full) * tokens / (heads - full)
        return min(max(int(left) - self.window, 0), most)


def mean_attention(queries: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Mean attention of queries (group, n, d), which are those of the last n of `keys` (rows, d), causal among
    themselves, to the rows before them, (rows - n,) float32.
    """
    n, rows = queries.shape[1], len(keys)
    logits = queries @ keys.T
    logits[:, np.arange(rows) > np.arange(rows - n, rows)[:, None]] = -np.inf
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.asarray(weights[..., : rows - n].mean(axis=(0, 1)), np.float32)
