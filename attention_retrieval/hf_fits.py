"""Whether settings fit a model: what a RetrievalCache refuses when it is made, from the model's config alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag.errors import ConfigError, ModelError


def check_fits(settings: RetrievalSettings, text: Any, full: Sequence[int]) -> None:
    """Raise ConfigError where the settings are of another model than that of the config `text`, whose layers `full`
    look at all tokens; ModelError for a model whose cache holds no keys and values of heads.
    """
    if getattr(text, "kv_lora_rank", None):
        what = f"{text.model_type} has latent attention (MLA): it caches latents, not keys and values of heads"
        raise ModelError(f"{what}, so a RetrievalCache cannot serve it", fix="use a DynamicCache")
    if settings.wants_rotation:
        what = "select moves keys to other positions, and nobody has said how this model turns them"
        fix = "settings.with_rotation(Rotation.of(model)), or positions: text"
        raise ConfigError(what, where="select", fix=fix)
    heads = text.num_attention_heads
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    for policy in (settings.prefill, settings.heads, settings.select):
        if policy:
            policy.check(text.num_hidden_layers, heads, kv_heads)
    check_watched(settings.watch, full, heads)
    if settings.calming:
        check_heads(settings.calming.heads, full, heads, "correct.heads")


def check_watched(watch: bool | str | tuple[tuple[int, int], ...], layers: Sequence[int], heads: int) -> None:
    """Raise ConfigError where `watch` names heads that are not there, or that no table has named yet."""
    if watch == "auto":
        what = "watch: auto takes its heads from a table of the model's own, which a pipeline's generator reads"
        raise ConfigError(what, fix="Retrieval(watch=[[layer, head], ...]) with those of `fovea heads MODEL`")
    check_heads(watch if isinstance(watch, tuple) else (), layers, heads, "watch")


def check_heads(named: Sequence[tuple[int, int]], layers: Sequence[int], heads: int, where: str) -> None:
    """Raise ConfigError for a [layer, head] that is not there."""
    for layer, head in named:
        if layer not in layers or head >= heads:
            what = f"there is no head {head} in a layer {layer} of full attention, so it cannot be "
            what += "watched" if where == "watch" else "calmed"
            allowed = f"layers {', '.join(map(str, layers))} and heads 0 to {heads - 1}"
            raise ConfigError(what, where=where, allowed=[allowed], fix="fovea heads MODEL lists them")
