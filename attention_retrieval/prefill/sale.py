"""SALE: a 4-bit estimate of all scores says which blocks of keys a block of queries reads.

    q4, k4   = q - mean of the block's queries, k - mean of the keys before the block, a scale a row, codes -7 to 7
    s^       = scale_q scale_k (q4 . k4) + mean query . k4's key
    m, Z     = largest score, and sum of exp(score - m), of sinks and the last `window` tokens before the block, exact
    kept     32 keys of which any has, for any query of 64 in the group, exp(s^ - m) / Z > tau

What is tested is nearly a probability: no key that is left out has more than about tau of what is always read, so
tau 0 is full attention. (The release goes on adding what it keeps to m and Z, which keeps fewer; here the bar stays, as
in its two-pass form.) Taking the mean key away shifts all scores of a query alike. `tau` is one number, or one of each
query head, as `fovea train heads sale` finds them (`probes/taus.py`); .0001 and less is taken for 0, as published.
Codes save time where the machine multiplies 4 or 8 bits; here they are multiplied as float32, so the
estimate costs half of full attention, and what it saves is the other half.
(X. Ji et al., "SALE: Low-bit estimation for efficient sparse attention in long-context LLM prefilling", 2025, arXiv
2505.24179)
"""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveInt, ValidationInfo, field_validator

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.head_files import rectangular, table_of
from fovea.attention_retrieval.prefill.key_blocks import BlockSize, rows_of
from fovea.attention_retrieval.prefill.prefill import Block, Prefill
from fovea.rag.errors import ConfigError

Share = Annotated[float, Field(ge=0, le=1)]
LEAST = 1e-4


class SALE(Prefill, name="sale"):
    """Blocks of keys by a threshold on their estimated weight."""

    tau: Share | list[list[Share]] = 0.004
    """The least weight that counts, of all heads, or a row a layer with one for each query head, or the path of a file
    of them, or of its folder; 0 reads all."""

    window: NonNegativeInt = 128
    """The last tokens before a block, which it reads."""

    block: BlockSize = 64
    """Tokens that share what they read."""

    key_block: PositiveInt = 32
    """Keys that are read together."""

    dense_below: NonNegativeInt = 1024
    """Tokens up to here read everything before them."""

    @field_validator("tau", mode="before", json_schema_input_type=Share | list[list[Share]] | str)
    @classmethod
    def _read(cls, tau: Any, info: ValidationInfo) -> Any:
        return table_of(tau, "sale", info) if isinstance(tau, str) else tau

    @field_validator("tau")
    @classmethod
    def _table(cls, tau: float | list[list[float]]) -> float | list[list[float]]:
        return [list(row) for row in rectangular(tau, "tau")] if isinstance(tau, list) else tau

    @property
    def rows(self) -> int:
        """A block."""
        return self.block

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """A table must be of a model of this shape."""
        if isinstance(self.tau, list) and (got := (len(self.tau), len(self.tau[0]))) != (layers, query_heads):
            what = f"the taus of sale are of {got[0]} layers of {got[1]} heads, the model has {layers} of {query_heads}"
            raise ConfigError(what, where="prefill", fix="`fovea train heads sale` makes those of a model")

    def columns(self, block: Block) -> Columns:
        """O(group * tokens * rows * d) a head, for the estimate."""
        far = block.start - self.window
        taus = self._taus(block)
        if block.start < self.dense_below or far <= block.sinks or (taus <= LEAST).any(axis=1).all():
            return Columns([np.arange(block.start)])
        asking, each = block.queries.float().cpu().numpy(), []
        for head, queries in enumerate(asking):
            if (taus[head] <= LEAST).any():
                each.append(np.arange(block.start))
                continue
            keys = block.keys[head, : block.start].float().cpu().numpy()
            kept = heavy(queries, keys - keys.mean(axis=0), block.sinks, far, taus[head])
            starts = np.arange(0, far, self.key_block)
            ids = rows_of(np.flatnonzero(np.add.reduceat(kept, starts)), self.key_block, block.sinks, far)
            each.append(np.concatenate([ids, np.arange(far, block.start)]))
        return Columns(each)

    def _taus(self, block: Block) -> np.ndarray:
        """(kv heads, group)."""
        heads, group = block.queries.shape[:2]
        mine = self.tau[block.layer] if isinstance(self.tau, list) else [self.tau] * heads * group
        return np.array(mine, np.float32).reshape(heads, group)


def heavy(queries: np.ndarray, keys: np.ndarray, sinks: int, far: int, tau: np.ndarray) -> np.ndarray:
    """Which of the first `far` keys weigh more than `tau` (group,) for any query (group, n, d): (far,) bool.

    All, where there are neither sinks nor a window to compare them with.
    """
    near = np.concatenate([keys[:sinks], keys[far:]])
    if not len(near):
        return np.ones(far, bool)
    scores = queries @ near.T
    most = scores.max(axis=-1, keepdims=True)
    bar = most[..., 0] + np.log(np.exp(scores - most).sum(axis=-1)) + np.log(tau)[:, None]
    mean = queries.mean(axis=(0, 1))
    estimate = _coded(queries - mean) @ _coded(keys[:far]).T + keys[:far] @ mean
    return np.asarray((estimate > bar[..., None]).any(axis=(0, 1)))


def _coded(rows: np.ndarray) -> np.ndarray:
    """Rows as 4 bits give them back: 15 levels, and a scale a row."""
    scale = np.abs(rows).max(axis=-1, keepdims=True) / 7
    return np.asarray(np.rint(rows / np.where(scale > 0, scale, 1)) * scale, np.float32)
