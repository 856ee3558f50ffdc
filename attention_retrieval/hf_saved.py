"""A RetrievalCache as one file: a text that was read once, to be asked many times.

layer.L.row.R...       what sequence R holds in layer L: `cache/saved.py`
layer.L.kept           which tokens are not padding, (batch, tokens), where some are
layer.L.sliding.keys   what a sliding-window layer holds, and more than its window where it records its past
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.cache.device import to_numpy
from fovea.attention_retrieval.cache.saved import Arrays, load_row, save_row
from fovea.attention_retrieval.hf_layer import RetrievalLayer
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag import registry
from fovea.rag.errors import ModelError

FORMAT = 2


def save(settings: RetrievalSettings, layers: Sequence[Any], path: Path) -> None:
    """Write a cache to `path`; raises ModelError for layers of a kind that cannot be saved."""
    arrays: Arrays = {}
    parts = [_save_layer(f"layer.{n}", layer, arrays) for n, layer in enumerate(layers)]
    tensorfile.write(path, arrays, {"format": FORMAT, "settings": settings.settings(), "layers": parts})


def load(path: Path) -> tuple[RetrievalSettings, list[Any]]:
    """Settings and layers of the cache in the file at `path`."""
    arrays, about = tensorfile.read(path)
    if about.get("format") != FORMAT:
        what = f"this cache has format {about.get('format')}, this version of Fovea reads {FORMAT}"
        raise ModelError(what, where=str(path), fix="read the text anew")
    kind = registry.find("attention", "retrieval")
    settings = cast(RetrievalSettings, kind.model_validate(about["settings"]))
    layers: list[Any] = []
    for n, each in enumerate(about["layers"]):
        if each["kind"] == "sliding":
            layers.append(_sliding(f"layer.{n}", each, arrays))
            continue
        layer = RetrievalLayer(settings, n)
        layer.seen, layer.model, layer.is_initialized = each["seen"], each["model"], bool(each["rows"])
        layer.rows = [load_row(f"layer.{n}.row.{r}", settings, n, row, arrays) for r, row in enumerate(each["rows"])]
        if f"layer.{n}.kept" in arrays:
            layer.kept = arrays[f"layer.{n}.kept"].astype(bool)
        layers.append(layer)
    return settings, layers


def _save_layer(name: str, layer: Any, arrays: Arrays) -> dict[str, Any]:
    if isinstance(layer, RetrievalLayer):
        rows = [save_row(f"{name}.row.{r}", row.cache, arrays) for r, row in enumerate(layer.rows)]
        if layer.kept is not None:
            arrays[f"{name}.kept"] = layer.kept.astype(np.uint8)
        return {"kind": "retrieval", "seen": layer.seen, "model": layer.model, "rows": rows}
    if type(layer) is DynamicSlidingWindowLayer:
        about = {"kind": "sliding", "window": layer.sliding_window, "seen": layer.cumulative_length}
        about["records"] = layer.record_past
        if layer.is_initialized:
            keys, values = cast(torch.Tensor, layer.keys), cast(torch.Tensor, layer.values)
            arrays[f"{name}.sliding.keys"], arrays[f"{name}.sliding.values"] = to_numpy(keys), to_numpy(values)
            about["dtype"] = str(keys.dtype).removeprefix("torch.")
        return about
    raise ModelError(f"a cache with a {type(layer).__name__} cannot be saved", where=name)


def _sliding(name: str, about: Mapping[str, Any], arrays: Arrays) -> DynamicLayer:
    layer = DynamicSlidingWindowLayer(about["window"])
    if "dtype" in about:
        keys, values = (torch.from_numpy(arrays[f"{name}.sliding.{which}"].copy()) for which in ("keys", "values"))
        dtype = getattr(torch, about["dtype"])
        layer.lazy_initialization(keys.to(dtype), values.to(dtype))
        layer.keys, layer.values = keys.to(dtype), values.to(dtype)
    layer.cumulative_length, layer.record_past = about["seen"], about["records"]
    return layer
