"""A text that was read once: its tokens, and what every layer keeps of them, for any place in a prompt.

    raw_j = R(-p_j) k_j          keys as before the rotary position that they were read at: those of any other, by R(p)

Keys are kept un-rotated, values as they are. In a file they are bf16, or int8 with a pair (low, scale) a channel of
keys and a token of values: un-rotated channels are far more alike from token to token than rotated ones. (Keys stored
before rotation: S. Lu et al., "TurboRAG: accelerating retrieval-augmented generation with precomputed KV caches for
chunked text", 2024, arXiv 2410.07590)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fovea.attention_retrieval.cache import tensorfile
from fovea.attention_retrieval.index.state import part
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.rounding import check_finite, decode, decode_codes, encode, to_bf16
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import FoveaError, ModelError

FORMAT = 1
Kept = Literal["fp32", "bf16", "int8"]
"""How numbers are kept in a file."""


@dataclass(frozen=True)
class ReadText:
    """What a model keeps of `ids`, float32 and in this order of axes: (layers, kv heads, tokens, d)."""

    ids: np.ndarray
    """(tokens,) int64."""
    keys: np.ndarray
    """Un-rotated."""
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, start: int, stop: int) -> ReadText:
        """The tokens [start, stop), as they were read in this text."""
        return ReadText(self.ids[start:stop], self.keys[:, :, start:stop], self.values[:, :, start:stop])

    def at(self, rotation: Rotation, start: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values as if the first token stood at position `start`."""
        return rotation.moved(self.keys, np.arange(start, start + len(self))), self.values

    def save(self, path: Path, dtype: Kept = "bf16") -> None:
        """Write to a file, whole or not at all; raises ModelError where it cannot be written."""
        arrays = {"ids": self.ids.astype(np.int64)}
        for name, rows, axis in (("keys", self.keys, -2), ("values", self.values, -1)):
            if dtype == "int8":
                arrays[name], arrays[f"{name}.scales"] = encode(rows, 8, axis)  # type: ignore[arg-type]
            else:
                arrays[name] = to_bf16(rows) if dtype == "bf16" else rows
        tensorfile.write(path, arrays, {"format": FORMAT, "text": list(self.keys.shape)})

    @classmethod
    def load(cls, path: Path) -> ReadText:
        """The text that was saved; raises ModelError, naming the part, for a file that is damaged or is another."""
        arrays, about = tensorfile.read(path)
        shape = about.get("text")
        if about.get("format") != FORMAT or not isinstance(shape, list) or len(shape) != 4:
            raise ModelError("this file holds no text that was read alone", where=str(path), fix="read the text anew")
        try:
            ids = part(arrays, "ids", np.int64, (shape[2],))
            return cls(ids, *(_rows(arrays, name, tuple(shape), axis) for name, axis in (("keys", -2), ("values", -1))))
        except FoveaError as error:
            raise error.at(str(path)) from None


def read_text(lm: CausalLM, rotation: Rotation, ids: Sequence[int], before: ReadText | None = None) -> ReadText:
    """Read `ids`, behind the text `before`, which stands at the beginning.

    Raises ModelError for a model that fails, and for one whose layers do not keep all keys.
    """
    from transformers import DynamicCache

    cache, first = DynamicCache(config=lm.model.config), len(before) if before else 0
    if before:
        fill(lm, cache, *before.at(rotation, 0))
    lm.read(ids, cache)
    keys, values = (each[:, :, first:] for each in stacked(lm, cache))
    raw = rotation.moved(keys, -np.arange(first, first + len(ids)))
    check_finite(raw)
    check_finite(values)
    return ReadText(np.asarray(ids, np.int64), raw, np.ascontiguousarray(values))


def fill(lm: CausalLM, cache: Any, keys: np.ndarray, values: np.ndarray) -> None:
    """Put keys and values (layers, kv heads, tokens, d) into a cache of transformers' own."""
    import torch

    for layer, pair in enumerate(zip(keys, values)):
        k, v = (torch.from_numpy(each).to(lm.model.device, lm.model.dtype)[None] for each in pair)
        cache.update(k, v, layer)


def stacked(lm: CausalLM, cache: Any) -> tuple[np.ndarray, np.ndarray]:
    """Keys and values of a cache of transformers' own, (layers, kv heads, tokens, d) float32 each.

    Raises ModelError for layers with a sliding window, and for those that differ in shape or keep nothing.
    """
    layers = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in cache.layers]
    shapes = {None if each is None else tuple(each.shape) for pair in layers for each in pair}
    if any(getattr(layer, "is_sliding", False) for layer in cache.layers) or None in shapes or len(shapes) != 1:
        what = f"{lm.name} has layers that do not keep all keys, or not alike: texts cannot be put together from caches"
        raise ModelError(what, fix="read: documents, which reads every prompt whole")
    keys, values = (np.stack([pair[n][0].float().cpu().numpy() for pair in layers]) for n in (0, 1))  # type: ignore[index]
    return keys, values


def _rows(arrays: dict[str, np.ndarray], name: str, shape: tuple[int, ...], axis: int) -> np.ndarray:
    codes = arrays.get(name)
    if codes is None or codes.dtype not in (np.float32, np.uint16, np.uint8):
        raise ModelError("the saved text is damaged", where=name, fix="read it anew")
    rows = part(arrays, name, codes.dtype.type, shape)
    if codes.dtype == np.uint8:
        pairs = (*shape[:2], shape[2], 2) if axis == -1 else (*shape[:2], 2, shape[3])
        scales = decode(part(arrays, f"{name}.scales", np.uint16, pairs))
        low, scale = np.split(scales, 2, axis)
        rows = decode_codes(rows, low, scale, 8, shape[3])
    rows = decode(rows)
    check_finite(rows)
    return rows
