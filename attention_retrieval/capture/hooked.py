"""Another attention function for a while: how vectors are recorded, and heads looked at or switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fovea.rag.errors import ModelError, require


@contextmanager
def attending_by(model: Any, name: str, attention: Callable[..., Any], *, needed_by: str) -> Iterator[None]:
    """Within, `model` attends by `attention`, known to transformers as `name`, with the masks of sdpa; then as before.

    Raises ModelError for a model whose attention does not go through transformers' attention interface.
    """
    transformers = require("transformers", extra="attention", needed_by=needed_by)
    masks = require("transformers.masking_utils", extra="attention", needed_by=needed_by)
    transformers.AttentionInterface.register(name, attention)
    transformers.AttentionMaskInterface.register(name, masks.sdpa_mask)
    if not model._can_set_attn_implementation():
        raise ModelError(
            f"{type(model).__name__} does not call attention through transformers' attention interface: "
            "its queries and keys cannot be captured",
            fix="a model of another architecture, such as Llama, Qwen, Mistral, Phi or SmolLM",
        )
    before = model.config._attn_implementation
    try:
        model.set_attn_implementation(name)
        yield
    finally:
        model.set_attn_implementation(before)
