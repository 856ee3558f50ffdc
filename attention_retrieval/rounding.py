"""Rounding: float32 rows as fewer bits, and back.

    bf16          the upper half of a float32, rounded to nearest even
    int8, int4    x = low + scale * code,   code = 0 .. 255 or 15,   |error| <= scale / 2

`low` and `scale` are bf16 themselves, rounded outward, so that every code is in range, and the error is that of the
codes alone. They are one pair a token for values; for keys one pair a channel of 128 tokens in a row: few channels of
keys are far larger than the others, and the same ones at every token (Z. Liu et al., "KIVI: a tuning-free asymmetric
2bit quantization for KV cache", 2024, arXiv 2402.02750). Two codes of 4 bits share a byte: channels j and j + d / 2.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from fovea.rag.errors import ModelError

Dtype = Literal["fp32", "bf16", "int8", "int4"]
CODES: dict[str, type] = {"fp32": np.float32, "bf16": np.uint16, "int8": np.uint8, "int4": np.uint8}
BITS = {"int8": 8, "int4": 4}
Axis = Literal[-1, -2]
"""Along which a pair holds: -1, a token's channels; -2, the tokens of a channel."""


def width(d: int, dtype: Dtype) -> int:
    """Numbers of the stored type that a row takes."""
    return (d + 1) // 2 if dtype == "int4" else d


def encode(rows: np.ndarray, bits: int, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Codes of float32 rows (..., tokens, d), and their pairs: (..., tokens, 2) for -1, (..., 2, d) for -2."""
    levels = 2**bits - 1
    least, most = (end.astype(np.float64) for end in (rows.min(axis, keepdims=True), rows.max(axis, keepdims=True)))
    low = _outward(least.astype(np.float32), up=False)
    scale = _outward(((most - decode(low)) / levels).astype(np.float32), up=True)
    if ((low & 0x7F80) == 0x7F80).any() or ((scale & 0x7F80) == 0x7F80).any():
        refuse()
    step = decode(scale)
    steps = (rows - decode(low)) / np.where(step > 0, step, 1)
    codes = np.clip(np.rint(steps), 0, levels).astype(np.uint8)
    return _packed(codes) if bits == 4 else codes, np.concatenate([low, scale], axis)


def decode(codes: np.ndarray) -> np.ndarray:
    """The float32 of bf16 codes; float32 as it is."""
    return (codes.astype(np.uint32) << 16).view(np.float32) if codes.dtype == np.uint16 else codes


def decode_codes(codes: np.ndarray, low: np.ndarray, scale: np.ndarray, bits: int, d: int) -> np.ndarray:
    """The float32 rows (..., tokens, d) of what `encode` gave, pairs as float32 already."""
    wide = np.concatenate([codes & 15, codes >> 4], axis=-1)[..., :d] if bits == 4 else codes
    return low + scale * wide.astype(np.float32)


def to_bf16(rows: np.ndarray) -> np.ndarray:
    """float32 to the codes of bf16, rounded to nearest even."""
    bits = np.ascontiguousarray(rows, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def check_finite(rows: np.ndarray) -> None:
    """Raise ModelError where a number of float32 or bf16 rows is not finite: it would make every later answer NaN."""
    if not (((rows & 0x7F80) != 0x7F80) if rows.dtype == np.uint16 else np.isfinite(rows)).all():
        refuse()


def refuse() -> None:
    """Raise the error for keys and values that cannot be kept."""
    raise ModelError(
        "the model made a key or value that is NaN or infinite: the cache did not take it",
        fix="check the prompt's attention mask and the model's weights, or load the model with dtype float32",
    )


def _outward(numbers: np.ndarray, *, up: bool) -> np.ndarray:
    """bf16 codes of the next number that is not below, or not above."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32)
    away = (bits >> 31 == 0) if up else (bits >> 31 == 1)
    return ((bits >> 16) + (away & (bits & 0xFFFF != 0))).astype(np.uint16)


def _packed(codes: np.ndarray) -> np.ndarray:
    half = (codes.shape[-1] + 1) // 2
    packed = codes[..., :half].copy()
    packed[..., : codes.shape[-1] - half] |= codes[..., half:] << 4
    return packed
