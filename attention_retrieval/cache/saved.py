"""What one sequence holds in one layer, as arrays of a file: a part of a saved cache.

NAME.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
NAME.keys.S.scales   its scales, for int8
NAME.sample          the prompt's queries that an index learns from, bf16, and their positions
NAME.head.H.PART     the arrays of head H's index; of its correction under NAME.correction.H.PART
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from fovea.attention_retrieval.cache.device import DecodingRow
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.index.engine import Engine, Keys
from fovea.attention_retrieval.index.state import under
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import SLAB, Vectors, decode, to_bf16

Arrays = dict[str, np.ndarray]


def save_row(name: str, row: LayerCache, arrays: Arrays) -> dict[str, Any]:
    """Put what a sequence holds in a layer into `arrays`, under `name`; what arrays do not say is returned."""
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


def load_row(
    name: str, settings: RetrievalSettings, layer: int, about: Mapping[str, Any], arrays: Arrays
) -> DecodingRow:
    """The sequence of which `save_row` wrote `about`; raises StoreError for an index whose arrays do not fit."""
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
