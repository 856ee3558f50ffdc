"""A prompt is read once, with full attention, and handed to every cache that is to decode behind it.

What a cache is handed are the calls that transformers makes, layer by layer: its `update` with new keys and values,
then the attention function with the queries, whose output is not wanted. A cache that reads prompts in full computes
that output all the same, unless its setting `prefill` bounds it: `handed` sets a band of one token, so that handing
takes time in proportion to the text. A decoding step does not look at that setting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers.cache_utils import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from fovea.attention_retrieval.attention import Attention
from fovea.attention_retrieval.prefill.prefill import Prefill

IMPLEMENTATION = "fovea_longcontext"


@dataclass(frozen=True)
class Read:
    """New tokens of one layer: queries (1, heads, tokens, d), keys and values (1, kv heads, tokens, d)."""

    module: Any
    layer: int
    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    scaling: float | None


class HandingCache(DynamicCache):
    """transformers' own cache; `take` is called with what each layer is given."""

    def __init__(self, config: Any, take: Callable[[Read], None] | None = None) -> None:
        super().__init__(config=config)
        self.take = take

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All keys and values of the layer, the keys marked with what is new of them."""
        keys, values = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        marked = keys.view_as(keys)
        marked.fovea_new = (self, layer_idx, key_states, value_states)  # type: ignore[attr-defined]
        return marked, values


def attend(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """`sdpa`; then the cache that marked the keys takes what is new."""
    out, _ = sdpa_attention_forward(module, query, key, value, mask, **kwargs)
    new = getattr(key, "fovea_new", None)
    if new is not None and new[0].take is not None:
        cache, layer, keys, values = new
        cache.take(Read(module, layer, query, keys, values, kwargs.get("scaling")))
    return out, None


def hand(cache: Any, implementation: str, read: Read) -> None:
    """Give `cache`, whose model attends by `implementation`, what was read of a layer.

    To a layer with a sliding window, and to a cache of transformers' own, its keys and values are all there is to give.
    """
    there, held = cache.update(read.keys, read.values, read.layer)
    if type(cache) is DynamicCache or getattr(cache.layers[read.layer], "is_sliding", False):
        return
    attend = transformers.AttentionInterface()[implementation]
    attend(read.module, read.queries, there, held, None, scaling=read.scaling)


def handed(spec: Attention) -> Attention:
    """The setting whose cache is handed a prompt without the work of reading it."""
    if "prefill" not in type(spec).model_fields:
        return spec
    return spec.model_copy(update={"prefill": Prefill.model_validate({"use": "band", "window": 1})})


def reads_in_full(spec: Attention) -> bool:
    """Whether a prompt read by this setting is read with full attention: then it may be handed what was read so."""
    return getattr(spec, "prefill", None) is None and getattr(spec, "exact_prompt", True)


def register() -> None:
    """Make the implementation known to transformers."""
    transformers.AttentionInterface.register(IMPLEMENTATION, attend)
    transformers.AttentionMaskInterface.register(IMPLEMENTATION, sdpa_mask)
