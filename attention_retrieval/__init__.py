"""Attention-aware retrieval inside the model.

from fovea.attention_retrieval import Retrieval, RetrievalCache
model = AutoModelForCausalLM.from_pretrained(name, attn_implementation="fovea_retrieval")
model.generate(**inputs, cache=RetrievalCache(model.config, Retrieval(top_k=100)))  # past_key_values before 5.24
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fovea.attention_retrieval.hf import RetrievalCache
    from fovea.attention_retrieval.selection.retrieval import Retrieval

__all__ = ["Retrieval", "RetrievalCache"]


def __getattr__(name: str) -> Any:
    """torch and transformers load when one of these is first named; they then know the attention function."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    from fovea.rag.errors import require

    require("transformers", extra="attention", needed_by="attention retrieval")
    if name == "Retrieval":
        import_module("fovea.attention_retrieval.hf")
        return import_module("fovea.attention_retrieval.selection.retrieval").Retrieval
    return getattr(import_module("fovea.attention_retrieval.hf"), name)
