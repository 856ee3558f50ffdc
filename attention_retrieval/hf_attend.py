"""The attention function and the mask that transformers calls by the name `fovea_retrieval`.

A layer of a RetrievalCache marks the keys that it returns with itself; keys without a mark go the way of `sdpa`.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import causal_mask_function, sdpa_mask

from fovea.attention_retrieval.hf_layer import IMPLEMENTATION
from fovea.rag.attention_interface import check_attention
from fovea.rag.errors import ModelError


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The attention function: query (batch, heads, tokens, d) in, (batch, tokens, heads, d) out."""
    check_attention(getattr(module, "config", None), IMPLEMENTATION)
    layer = getattr(key, "fovea_layer", None)
    odd = [name for name in ("softcap", "s_aux", "position_bias") if kwargs.get(name) is not None]
    if odd and (layer is not None or odd[0] != "position_bias"):
        instead = 'attn_implementation="sdpa"' if odd[0] == "position_bias" else 'attn_implementation="eager"'
        raise ModelError(f"{IMPLEMENTATION} does not serve attention with {odd[0]}", fix=instead)
    if layer is None:
        mask = _whole_mask(query, key, attention_mask)
        return sdpa_attention_forward(module, query, key, value, mask, dropout=dropout, scaling=scaling, **kwargs)
    if attention_mask is not None and attention_mask.ndim != 2:
        raise ModelError("a RetrievalCache serves causal attention, with padding or without: this mask is another")
    causal = kwargs.get("is_causal")
    if not (getattr(module, "is_causal", True) if causal is None else causal):
        fix = "is_decoder=True in its config, if it was trained to be one; else a DynamicCache"
        raise ModelError(f"a RetrievalCache serves causal attention: {type(module).__name__} looks ahead", fix=fix)
    if layer.new is None or value is not layer.new[1]:
        what = f"{type(module).__name__} does not attend with the values that it gave the cache, once each"
        raise ModelError(f"{what}, so a RetrievalCache cannot serve it", fix="use a DynamicCache")
    return layer.attend(module, query, attention_mask, query.shape[-1] ** -0.5 if scaling is None else scaling), None


def make_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int = 0,
    kv_offset: int = 0,
    mask_function: Any = causal_mask_function,
    attention_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor | None:
    """Where attention is plainly causal over all there is: the padding, (batch, keys), or None without any.

    Otherwise (a sliding window, packed sequences, a static cache, a model that adds to its mask) that of `sdpa`.
    Raises ModelError for a model that transformers does not compute by `sdpa`: some never ask for an attention
    function.
    """
    check_attention(kwargs.get("config"), IMPLEMENTATION)
    plain = mask_function is causal_mask_function and kv_offset == 0 and kv_length == q_offset + q_length
    if plain and kwargs.get("allow_is_causal_skip", True):
        if attention_mask is None or (attention_mask.shape[-1] >= kv_length and bool(attention_mask.all())):
            return None
        return attention_mask[:, :kv_length]
    return sdpa_mask(batch_size, q_length, kv_length, q_offset, kv_offset, mask_function, attention_mask, **kwargs)


def _whole_mask(query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor | None:
    """What `sdpa` wants, from what `make_mask` gave."""
    tokens, keys = query.shape[2], key.shape[2]
    if mask is not None and mask.ndim == 4:
        return mask
    if mask is None and (tokens == 1 or tokens == keys):
        return None
    return sdpa_mask(
        len(query), tokens, keys, keys - tokens, attention_mask=mask, allow_is_causal_skip=False, device=query.device
    )
