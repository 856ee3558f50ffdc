"""A model's attention, looked at or changed on its way: queries and keys as they meet, behind RoPE and any norms."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

from fovea.attention_retrieval.capture.hooked import attending_by
from fovea.rag.errors import ModelError

NAME = "fovea_heads"


class Called(NamedTuple):
    """What a layer's attention was called with, of one text or several: tensors (batch, heads, tokens, d)."""

    layer: int
    query: Any
    key: Any
    """All that the cache holds too."""
    value: Any
    hidden: Any
    """True for a key that a query may not see, (batch or 1, 1, queries, keys)."""
    scaling: float

    @property
    def group(self) -> int:
        """Query heads a kv head."""
        return int(self.query.shape[1] // self.key.shape[1])


Seen = Callable[[Called, Any], Any]
"""Called with that and the output, (batch, tokens, heads, d); gives the output."""
_now: ContextVar[Seen | None] = ContextVar("heads", default=None)


@contextmanager
def through(model: Any, seen: Seen) -> Iterator[None]:
    """Within, attention of `model` in this thread goes by `seen`; then the model is as it was.

    Raises ModelError for a model whose attention is not a softmax of q . k, or does not go through transformers'
    interface.
    """
    with attending_by(model, NAME, _attention, needed_by="looking at heads"):
        token = _now.set(seen)
        try:
            yield
        finally:
            _now.reset(token)


def _attention(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any) -> Any:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    seen = _now.get()
    if seen and (odd := next((n for n in ("softcap", "s_aux", "position_bias") if kwargs.get(n) is not None), None)):
        raise ModelError(f"the model's attention has {odd!r}: it is more than a softmax of q . k, and not looked at")
    out, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if seen is not None:
        scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
        out = seen(Called(module.layer_idx, query, key, value, _hidden(query, key, attention_mask), scaling), out)
    return out, weights


def _hidden(query: Any, key: Any, mask: Any) -> Any:
    """Where the mask hides, or, without one, what comes later."""
    import torch

    tokens, keys = query.shape[2], key.shape[2]
    if mask is None:
        mine = torch.arange(keys - tokens, keys, device=query.device)[:, None]
        return (torch.arange(keys, device=query.device) > mine)[None, None]
    mask = mask[..., :keys]
    return ~mask if mask.dtype == torch.bool else mask < 0
