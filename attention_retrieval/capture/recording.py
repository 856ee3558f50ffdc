"""Recording: what transformers' attention is called with, written down on the way.

The function registered here computes what `sdpa` computes, by calling it, and besides keeps rows of its arguments for
the recording that is under way in this thread. So queries and keys are those behind RoPE and any norms, of every model
whose attention goes through transformers' attention interface.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from fovea.attention_retrieval.capture.hooked import attending_by
from fovea.attention_retrieval.rounding import to_bf16
from fovea.rag.errors import ModelError

NAME = "fovea_capture"
_now: ContextVar[Recording | None] = ContextVar("recording", default=None)


@dataclass
class Recording:
    """Rows of keys and values (kv heads, rows, d) and kept queries (heads, kept, d) of some layers."""

    layers: tuple[int, ...]
    keep: np.ndarray
    """Which rows' queries are kept, (rows,) bool: the most rows there will be."""
    dtype: Literal["bf16", "fp32"]
    keyed: int | None = None
    """Rows from here on have no keys: None for nowhere."""
    row: int = 0
    """The row of the next call's first token."""
    chosen: np.ndarray | None = None
    """Of the next call: which tokens of each text of the batch count, (batch, tokens) bool; None for all."""
    parts: dict[str, np.ndarray] = field(default_factory=dict)
    scaling: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.before = np.concatenate([[0], np.cumsum(self.keep)])

    def take(self, layer: int, query: Any, key: Any, value: Any, scaling: float) -> None:
        """Keep rows of one call; tensors (batch, heads, tokens, d), keys with all that the cache holds."""
        self.scaling[layer] = scaling
        rows = int(self.chosen.sum()) if self.chosen is not None else query.shape[2]
        span = slice(self.row, self.row + rows)
        picked = np.flatnonzero(self.keep[span])
        place = slice(self.before[span.start], self.before[span.start] + len(picked))
        if len(picked):
            self._table(f"{layer}.queries", query, int(self.before[-1]))[:, place] = self._rows(query, rows, picked)
        if self.keyed is None or span.start < self.keyed:
            most = len(self.keep) if self.keyed is None else self.keyed
            for name, tensor in (("keys", key), ("values", value)):
                self._table(f"{layer}.{name}", tensor, most)[:, span] = self._rows(tensor, rows, None)

    def _rows(self, tensor: Any, rows: int, picked: np.ndarray | None) -> np.ndarray:
        """The last `rows` tokens, or those chosen of a batch, as they are kept: (heads, rows, d)."""
        if self.chosen is not None:
            import torch

            table = tensor.transpose(1, 2)[torch.from_numpy(self.chosen)].transpose(0, 1)
        else:
            table = tensor[0, :, tensor.shape[2] - rows :]
        table = (table if picked is None else table[:, picked]).detach().float().cpu().numpy()
        return to_bf16(table) if self.dtype == "bf16" else table

    def _table(self, name: str, like: Any, rows: int) -> np.ndarray:
        if name not in self.parts:
            kind = np.uint16 if self.dtype == "bf16" else np.float32
            self.parts[name] = np.zeros((like.shape[1], rows, like.shape[3]), kind)
        return self.parts[name]


@contextmanager
def recorded(model: Any, recording: Recording) -> Iterator[None]:
    """Within, calls of `model` in this thread go to `recording`; then the model is as it was.

    Raises ModelError for a model whose attention does not go through the interface.
    """
    with attending_by(model, NAME, _attention, needed_by="capturing queries and keys"):
        token = _now.set(recording)
        try:
            yield
        finally:
            _now.reset(token)


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if (recording := _now.get()) is not None:
        layer = getattr(module, "layer_idx", None)
        if odd := next((name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None), None):
            raise ModelError(f"the model's attention has {odd!r}: it is more than a softmax of q . k, and not captured")
        if layer in recording.layers:
            scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
            recording.take(layer, query, key, value, scaling)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
