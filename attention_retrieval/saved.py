"""A RetrievalCache as one file: a text that was read once, to be asked many times.

layer.L.row.R.keys.S          slab S of keys: mapped from the file when loaded, never copied; `values` likewise
layer.L.row.R.keys.S.scales   its scales, for int8
layer.L.row.R.sample          the prompt's queries that an index learns from, bf16, and their positions
layer.L.row.R.head.H.NAME     the arrays of head H's index; of its correction under `correction.H.NAME`
layer.L.kept                  which tokens are not padding, (batch, tokens), where some are
layer.L.sliding.keys          what a sliding-window layer holds, and more than its window where it records its past
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from fovea.attention_retrieval import tensorfile
from fovea.attention_retrieval.device import DecodingRow, to_numpy
from fovea.attention_retrieval.engine import Engine, Keys
from fovea.attention_retrieval.hf_layer import RetrievalLayer
from fovea.attention_retrieval.layer import LayerCache
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.state import damaged, mapped, part, under, within
from fovea.attention_retrieval.vectors import CODES, SLAB, Vectors, decode, to_bf16
from fovea.rag import registry
from fovea.rag.errors import FoveaError, ModelError

FORMAT, ANEW = 2, "read the text anew, and save it again"
Arrays = dict[str, np.ndarray]
Size = Annotated[int, Field(gt=0, lt=1 << 20)]


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Row(_Said):
    tokens: NonNegativeInt
    heads: Size
    d: Size
    indexed: NonNegativeInt
    engine: dict[str, Any] | None
    why: str
    stride: PositiveInt
    group: NonNegativeInt


class _Full(_Said):
    kind: Literal["retrieval"]
    seen: NonNegativeInt
    model: str | None
    rows: list[_Row]


class _Sliding(_Said):
    kind: Literal["sliding"]
    window: PositiveInt
    seen: NonNegativeInt
    records: bool
    dtype: Literal["float32", "float64", "float16", "bfloat16"] | None = None


_LAYERS = TypeAdapter(list[Annotated[_Full | _Sliding, Field(discriminator="kind")]])


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
        raise ModelError(what, where=str(path), fix=ANEW)
    with _placed(str(path)):
        kind = registry.find("attention", "retrieval")
        with _placed("settings"):
            settings = cast(RetrievalSettings, kind.model_validate(about["settings"]))
        with _placed("layers"):
            said = _LAYERS.validate_python(about["layers"])
        return settings, [_load_layer(n, each, settings, arrays) for n, each in enumerate(said)]


def _load_layer(n: int, said: _Sliding | _Full, settings: RetrievalSettings, arrays: Arrays) -> Any:
    with _placed(f"layer.{n}"):
        if isinstance(said, _Sliding):
            return _sliding(f"layer.{n}", said, arrays)
        layer = RetrievalLayer(settings, n)
        layer.seen, layer.model, layer.is_initialized = said.seen, said.model, bool(said.rows)
        layer.rows = [_load_row(f"layer.{n}.row.{r}", settings, n, row, arrays) for r, row in enumerate(said.rows)]
        if f"layer.{n}.kept" in arrays:
            layer.kept = part(arrays, f"layer.{n}.kept", np.uint8, (len(said.rows), said.seen)).astype(bool)
        held = layer.kept.sum(axis=1) if layer.kept is not None else [said.seen] * len(said.rows)
        if any(len(row.cache) != count for row, count in zip(layer.rows, held)):
            raise damaged(f"its rows do not hold the {said.seen} tokens that were seen")
        return layer


@contextmanager
def _placed(name: str) -> Iterator[None]:
    """Errors of the block at the part of that name; what only a forged file can cause is ModelError too."""
    try:
        yield
    except FoveaError as error:
        raise error.at(name) from None
    except KeyError as error:
        raise ModelError(f"the saved cache is damaged: it has no part {error}", where=name, fix=ANEW) from None
    except (ValueError, TypeError, IndexError, AttributeError, OverflowError, ArithmeticError, MemoryError) as error:
        words = " ".join(str(error).split())[:300]
        raise ModelError(f"the saved cache is damaged: {words}", where=name, fix=ANEW) from None


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


def _sliding(name: str, said: _Sliding, arrays: Arrays) -> DynamicLayer:
    layer = DynamicSlidingWindowLayer(said.window)
    if said.dtype is not None:
        held = part(arrays, f"{name}.sliding.keys", np.float32, (None,) * 4)
        keys = torch.from_numpy(held)
        values = torch.from_numpy(part(arrays, f"{name}.sliding.values", np.float32, held.shape))
        if keys.shape[2] > said.seen:
            raise damaged(f"part '{name}.sliding.keys' has {keys.shape[2]} tokens, of which {said.seen} were seen")
        dtype = getattr(torch, said.dtype)
        layer.lazy_initialization(keys.to(dtype), values.to(dtype))
        layer.keys, layer.values = keys.to(dtype), values.to(dtype)
    layer.cumulative_length, layer.record_past = said.seen, said.records
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
        for key, array in index.state().items():
            arrays[f"{name}.head.{head}.{key}"] = array
    for head, corrected in enumerate(row.corrected):
        for key, array in corrected.state().items():
            arrays[f"{name}.correction.{head}.{key}"] = array
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


def _load_row(name: str, settings: RetrievalSettings, layer: int, said: _Row, arrays: Arrays) -> DecodingRow:
    row = DecodingRow(settings, layer, said.heads, said.d)
    cache = row.cache
    for which, vectors in (("keys", cache.keys), ("values", cache.values)):
        _adopt(f"{name}.{which}", vectors, said.tokens, arrays)
    cache.group, cache.indexed, cache.why = said.group, said.indexed, said.why
    cache.sample.stride = said.stride
    if f"{name}.sample" in arrays:
        sample = part(arrays, f"{name}.sample", np.uint16, (said.heads * said.group, None, said.d))
        positions = part(arrays, f"{name}.sample.positions", np.int64, (sample.shape[1],))
        cache.sample.queries = decode(sample)
        cache.sample.positions = within(positions, f"{name}.sample.positions", 0, max(said.tokens, 1))
    if said.engine:
        if not settings.sinks <= said.indexed <= said.tokens:
            raise damaged(f"{name} has {said.tokens} tokens, of which {said.indexed} are indexed")
        cache.engine = Engine.model_validate(said.engine)
        for head in range(said.heads):
            keys = Keys(cache.keys.head(head), settings.sinks, said.indexed, cache.bias(head, said.indexed))
            index = cache.engine.restore(keys, under(f"{name}.head.{head}.", arrays))
            cache.indexes.append(index)
            if settings.correction:
                state = under(f"{name}.correction.{head}.", arrays)
                cache.corrected.append(settings.correction.restore(index.keys, cache.values.head(head), state))
    return row


def _adopt(name: str, vectors: Vectors, tokens: int, arrays: Arrays) -> None:
    """Full slabs stay in the file; the last one, where more tokens will come, is copied."""
    full, scaled = tokens // SLAB, vectors.dtype == "int8"

    def slab(n: int, rows: int) -> tuple[np.ndarray, np.ndarray | None]:
        codes = mapped(arrays, f"{name}.{n}", CODES[vectors.dtype], (vectors.heads, rows, vectors.d))
        return codes, mapped(arrays, f"{name}.{n}.scales", np.float32, (vectors.heads, rows)) if scaled else None

    slabs = [slab(n, SLAB) for n in range(full)]
    vectors.adopt([codes for codes, _ in slabs], [s for _, s in slabs if s is not None], full * SLAB)
    if rest := tokens % SLAB:
        vectors.append_codes(*slab(full, rest))
