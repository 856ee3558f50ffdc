"""A model that is read by texts, through sentence-transformers itself: its tokenizers, its limits and its vectors.

A model with separate towers (`Router`) has a tokenizer and a limit for queries, and others for documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from fovea.rag.encoder import Role, Tokenizer
from fovea.rag.errors import ModelError
from fovea.rag.recipe import NO_LIMIT
from fovea.rag.tokens import WordTokenizer
from fovea.rag.wordpieces import ModelTokenizer

if TYPE_CHECKING:
    import numpy as np


class Reading(NamedTuple):
    """How a model reads texts of one role."""

    tokenizer: Tokenizer
    """Its own; words and marks stand for one that does not say where its tokens lie."""
    most: int | None
    """Tokens of a text, its prompt counted, special tokens not; None without a limit."""


def reading(model: Any, role: Role) -> Reading:
    """What the module that reads texts of `role` says; raises ModelError where there is none."""
    module = _reader(model, role)
    try:
        tokenizer: Tokenizer = ModelTokenizer.of(getattr(module, "tokenizer", None), "the model")
    except ModelError:
        tokenizer = WordTokenizer()
    limits = (getattr(module, "max_seq_length", None), getattr(module, f"{role}_length", None))
    most = min((n for n in limits if n is not None), default=NO_LIMIT)
    if most >= NO_LIMIT:
        return Reading(tokenizer, None)
    return Reading(tokenizer, int(most) - (tokenizer.extra if isinstance(tokenizer, ModelTokenizer) else 0))


def vectors_of(model: Any, texts: Sequence[str], role: Role, prompt: str, batch_size: int) -> np.ndarray:
    """Float32 `(texts, dim)`: what `encode_query` or `encode_document` gives with this prompt.

    A prompt is always given, if empty: without one the library puts the model's default prompt before the texts.
    """
    try:
        found = model.encode(list(texts), prompt=prompt, task=role, batch_size=batch_size, show_progress_bar=False)
    except Exception as error:  # a model's own modules fail in as many ways as there are modules
        raise ModelError(f"sentence-transformers cannot encode a {role}: {type(error).__name__}: {error}") from error
    return found.astype("float32")


def _reader(model: Any, role: Role) -> Any:
    """The module that reads texts of a role: the model's first, or the first on the role's way through it."""
    first = model[0]
    towers = getattr(first, "sub_modules", None)
    if towers is None:
        return first
    ways = getattr(first, "route_mappings", None) or {}
    keys = ((role, "text"), (role, None), (None, "text"), (None, None))
    way = next((ways[key] for key in keys if key in ways), role if role in towers else first.default_route)
    if way not in towers:
        raise ModelError(f"the model has no way for a {role}: it has {', '.join(towers)}")
    return towers[way][0]
