"""Which models of transformers let another attention stand in for `sdpa`.

A model does if transformers computes it by `sdpa`, and if its layers take their attention from transformers' interface.
Others have sinks, caps or biases that `sdpa` leaves out, or know a fixed list of names only.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

from fovea.rag.errors import ModelError


def check_attention(config: object, implementation: str) -> None:
    """Raise ModelError if models of this config cannot attend through `implementation`.

    One that transformers does not know is not refused.
    """
    if why := _refusal(type(config)):  # type: ignore[arg-type]  # mypy: types are not Hashable
        raise _refused(why, implementation)


def check_model(model: object, implementation: str) -> None:
    """The same for a model that is being made, or a part of one: refused is a language model, and whatever looks its
    attention up in a list of its own, which ends in a KeyError.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = type(model)
    own = (table for name, table in vars(sys.modules[kind.__module__]).items() if name.endswith("ATTENTION_CLASSES"))
    if any(implementation not in table for table in own):
        raise _refused(f"{kind.__name__} does not take its attention from transformers' interface", implementation)
    config: Any = getattr(model, "config", None)
    if MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None):
        check_attention(config, implementation)


def _refused(why: str, implementation: str) -> ModelError:
    return ModelError(f"{why}, so it cannot attend through {implementation}", fix='attn_implementation="eager"')


@cache
def _refusal(config: type) -> str | None:
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, MODEL_MAPPING

    found = MODEL_FOR_CAUSAL_LM_MAPPING.get(config, None) or MODEL_MAPPING.get(config, None)
    model = found[0] if isinstance(found, tuple) else found
    if model is None:
        return None
    if not model._supports_sdpa:
        return f"transformers does not compute {model.__name__} by sdpa"
    if not model._can_set_attn_implementation():
        return f"{model.__name__} does not take its attention from transformers' interface"
    return None
