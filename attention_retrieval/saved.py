"""A RetrievalCache as one file: a text that was read once, to be asked many times.

layer.L.row.R.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
layer.L.row.R.keys.S.scales   its scales, for int8
layer.L.row.R.sample          the prompt's queries that an index learns from, bf16, and their positions
layer.L.row.R.head.H.NAME     the arrays of head H's index; of its correction under `correction.H.NAME`
layer.L.kept                  which tokens are not padding, (batch, tokens), where some are
layer.L.sliding.keys          what a sliding-window layer holds, and more than its window where it records its past
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from fovea.attention_retrieval import tensorfile
from fovea.attention_retrieval.device import DecodingRow, to_numpy
from fovea.attention_retrieval.engine import Engine, Keys
from fovea.attention_retrieval.hf_layer import RetrievalLayer
from fovea.attention_retrieval.layer import LayerCache
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.state import under
from fovea.attention_retrieval.vectors import SLAB, Vectors, decode, to_bf16
from fovea.rag import registry
from fovea.rag.errors import ModelError

FORMAT = 2
Arrays = dict[str, np.ndarray]


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
        layer.rows = [_load_row(f"layer.{n}.row.{r}", settings, n, row, arrays) for r, row in enumerate(each["rows"])]
        if f"layer.{n}.kept" in arrays:
            layer.kept = arrays[f"layer.{n}.kept"].astype(bool)
        layers.append(layer)
    return settings, layers


def _save_layer(name: str, layer: Any, arrays: Arrays) -> dict[str, Any]:
    if isinstance(layer, RetrievalLayer):
        rows = [_save_row(f"{name}.row.{r}", row.cache, arrays) for r, row in enumerate(layer.rows)]
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


def _save_row(name: str, row: LayerCache, arrays: Arrays) -> dict[str, Any]:
    for which, vectors in (("keys", row.keys), ("values", row.values)):
        for n, slab in enumerate(vectors.slabs):
            filled = min(SLAB, len(vectors) - n * SLAB)
            arrays[f"{name}.{which}.{n}"] = slab[:, :filled]
            if vectors.scales:
                arrays[f"{name}.{which}.{n}.scales"] = vectors.scales[n][:, :filled]
    if row.sample.queries is not None:
        arrays[f"{name}.sample"], arrays[f"{name}.sample.positions"] = to_bf16(row.sample.queries), row.sample.positions
    for head, index in enumerate(row.indexes):
        for part, array in index.state().items():
            arrays[f"{name}.head.{head}.{part}"] = array
    for head, corrected in enumerate(row.corrected):
        for part, array in corrected.state().items():
            arrays[f"{name}.correction.{head}.{part}"] = array
    return {
        "tokens": len(row),
        "heads": row.keys.heads,
        "d": row.keys.d,
        "indexed": row.indexed,
        "engine": row.engine.settings() if row.indexes and row.engine else None,
        "why": row.why,
        "stride": row.sample.stride,
        "group": row.group,
    }


def _load_row(
    name: str, settings: RetrievalSettings, layer: int, about: Mapping[str, Any], arrays: Arrays
) -> DecodingRow:
    row = DecodingRow(settings, layer, about["heads"], about["d"])
    cache = row.cache
    for which, vectors in (("keys", cache.keys), ("values", cache.values)):
        _adopt(f"{name}.{which}", vectors, about["tokens"], arrays)
    cache.group, cache.indexed, cache.why = about["group"], about["indexed"], about["why"]
    cache.sample.stride = about["stride"]
    if f"{name}.sample" in arrays:
        cache.sample.queries = decode(arrays[f"{name}.sample"])
        cache.sample.positions = np.array(arrays[f"{name}.sample.positions"])
    if about["engine"]:
        cache.engine = Engine.model_validate(about["engine"])
        for head in range(about["heads"]):
            keys = Keys(cache.keys.head(head), settings.sinks, about["indexed"], cache.bias(head, about["indexed"]))
            index = cache.engine.restore(keys, under(f"{name}.head.{head}.", arrays))
            cache.indexes.append(index)
            if settings.correction:
                state = under(f"{name}.correction.{head}.", arrays)
                cache.corrected.append(settings.correction.restore(index.keys, cache.values.head(head), state))
    return row


def _adopt(name: str, vectors: Vectors, tokens: int, arrays: Arrays) -> None:
    """Full slabs stay in the file; the last one, where more tokens will come, is copied."""
    full = tokens // SLAB
    slabs = [arrays[f"{name}.{n}"] for n in range(full)]
    scales = [arrays[f"{name}.{n}.scales"] for n in range(full)] if vectors.dtype == "int8" else []
    vectors.adopt(slabs, scales, full * SLAB)
    if tokens % SLAB:
        vectors.append_codes(arrays[f"{name}.{full}"], arrays.get(f"{name}.{full}.scales"))
