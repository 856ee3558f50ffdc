"""Another attention function for a while: how vectors are recorded, and heads looked at or switched off."""

from __future__ import annotations

import threading
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
    _swap(model, name)
    try:
        yield
    finally:
        _swap_back(model)


_swapped: dict[int, tuple[str, str, int]] = {}
"""By a model's id: what it attends by for a while, what it did before, and how many are at it."""
_changed = threading.Condition()


def _swap(model: Any, name: str) -> None:
    """Several threads may be inside at once, by one name: the last to leave puts things back."""
    with _changed:
        _changed.wait_for(lambda: _swapped.get(id(model), (name,))[0] == name)
        _, before, inside = _swapped.get(id(model), (name, model.config._attn_implementation, 0))
        if not inside:
            model.set_attn_implementation(name)
        _swapped[id(model)] = name, before, inside + 1


def _swap_back(model: Any) -> None:
    with _changed:
        name, before, inside = _swapped.pop(id(model))
        if inside > 1:
            _swapped[id(model)] = name, before, inside - 1
        else:
            model.set_attn_implementation(before)
            _changed.notify_all()
