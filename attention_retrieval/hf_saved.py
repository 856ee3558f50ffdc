"""A RetrievalCache as one file: a text that was read once, to be asked many times.

layer.L.row.R...       what sequence R holds in layer L: `cache/saved.py`
layer.L.kept           which tokens are not padding, (batch, tokens), where some are
layer.L.sliding.keys   what a sliding-window layer holds, and more than its window where it records its past
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

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.cache.device import to_numpy
from fovea.attention_retrieval.cache.saved import Arrays, SavedRow, load_row, save_row
from fovea.attention_retrieval.hf_layer import RetrievalLayer
from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag import registry
from fovea.rag.errors import FoveaError, ModelError

FORMAT, READ, ANEW = 6, (2, 3, 4, 5, 6), "read the text anew, and save it again"


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Full(_Said):
    kind: Literal["retrieval"]
    seen: NonNegativeInt
    model: str | None
    rows: list[SavedRow]


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
    if about.get("format") not in READ:
        what = f"this cache has format {about.get('format')}, this version of Fovea reads {READ[0]} to {READ[-1]}"
        raise ModelError(what, where=str(path), fix=ANEW)
    with _placed(str(path)):
        if about["format"] < FORMAT:
            _renew(about)
        kind = registry.find("attention", "retrieval")
        with _placed("settings"):
            settings = cast(RetrievalSettings, kind.model_validate(about["settings"]))
        with _placed("layers"):
            said = _LAYERS.validate_python(about["layers"])
        return settings, [_load_layer(n, each, settings, arrays) for n, each in enumerate(said)]


def _renew(about: dict[str, Any]) -> None:
    """What an older file says, as this one says it. Before format 4, or where heads streamed before 5, what was made of
    its rows is made anew at the next token.

    Raises ModelError where rows were rounded in another way.
    """
    settings = about["settings"]
    if about["format"] == 5 or (about["format"] == 4 and not settings.get("heads")):
        return
    if about["format"] < 4 and settings.get("dtype") == "int8":
        raise ModelError("its int8 keys have a scale a token, as before format 4; now one a channel", fix=ANEW)
    if (window := settings.pop("prompt_window", None)) is not None:
        settings["prefill"] = {"use": "band", "window": window}
    if "correction" in settings:
        settings["correct"] = settings.pop("correction")
    for row in (row for layer in about["layers"] for row in layer.get("rows", ())):
        if any([row.pop(name, None) for name in ("selected", "engine", "built")]):
            row["indexed"] = settings["sinks"]


def _load_layer(n: int, said: _Sliding | _Full, settings: RetrievalSettings, arrays: Arrays) -> Any:
    with _placed(f"layer.{n}"):
        if isinstance(said, _Sliding):
            return _sliding(f"layer.{n}", said, arrays)
        layer = RetrievalLayer(settings, n)
        layer.seen, layer.model, layer.is_initialized = said.seen, said.model, bool(said.rows)
        layer.rows = [load_row(f"layer.{n}.row.{r}", settings, n, row, arrays) for r, row in enumerate(said.rows)]
        if f"layer.{n}.kept" in arrays:
            layer.kept = part(arrays, f"layer.{n}.kept", np.uint8, (len(said.rows), said.seen)).astype(bool)
        held = layer.kept.sum(axis=1) if layer.kept is not None else [said.seen] * len(said.rows)
        if any(row.cache.tokens != count for row, count in zip(layer.rows, held)):
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
