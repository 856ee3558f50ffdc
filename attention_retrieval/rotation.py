"""Rotation: a model's rotary positions, taken off keys and put on again elsewhere.

    k_p = R(p) k        R(p) turns the pair (x_j, y_j) of a key by the angle p f_j
    R(to) R(-from) = R(to - from)

so a key that was read at one position is the key of another, exactly: in float32 to 1e-7, and what bf16 rounds is its
cast. Which numbers make a pair differs: j and j + r/2 of the first r (Llama, Qwen, Gemma, GPT-NeoX), or 2j and 2j + 1
(GLM, Cohere); the model itself is asked. (Su et al., "RoFormer", 2021, arXiv 2104.09864)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.rag.errors import ModelError

TOKENS, MOVE = 8, 1000
"""What a model is asked with: so many tokens, and so many further on."""
ALIKE = 0.2
"""Keys that differ by less than this share of their size are the same, rounded; keys that do not turn differ by 1."""


@dataclass(frozen=True)
class Rotation:
    """Frequencies, and how the numbers of a key are paired."""

    frequencies: np.ndarray
    """f, (r / 2,) float64: radians a token; r of a key's numbers turn, the first ones."""
    interleaved: bool
    """Whether 2j and 2j + 1 are a pair; else j and j + r/2."""

    @classmethod
    def of(cls, model: Any) -> Rotation:
        """That of a causal language model of transformers.

        It is asked itself: a few tokens are read at two places, and every layer's keys must be each other's, moved.
        Raises ModelError for one without rotary positions, with frequencies of several kinds or that change with the
        length of the text (dynamic NTK, LongRoPE), with layers whose keys do not turn or that keep none, and for one
        that turns others of their numbers than the first: its keys cannot be moved.
        """
        name, found = type(model).__name__, [module for module in model.modules() if hasattr(module, "inv_freq")]
        kinds = {str(getattr(module, "rope_type", "default")) for module in found}
        if not found:
            raise ModelError(f"{name} has no rotary positions that keys could be moved by")
        if kinds & {"dynamic", "longrope"} or len({module.inv_freq.shape for module in found}) > 1:
            what = f"{name} turns keys by frequencies that depend on the text's length ({min(kinds)})"
            raise ModelError(f"{what}: they cannot be moved")
        here, there = _keys(model, 0), _keys(model, MOVE)
        frequencies = found[0].inv_freq.detach().double().cpu().numpy()
        ways = [cls(frequencies, interleaved) for interleaved in (False, True)]
        does = [[way._moves(*keys) for keys in zip(here, there)] for way in ways]
        for way, layers in zip(ways, does):
            if layers and all(layers):
                return way
        best = max(does, key=sum)
        if any(best):
            still = ", ".join(str(n) for n, moves in enumerate(best) if not moves)
            raise ModelError(
                f"{name} does not turn the keys of all layers alike (not of {still}): they cannot be moved"
            )
        raise ModelError(f"{name} turns keys in a way of its own: they cannot be moved")

    def moved(self, keys: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Keys (..., tokens, d) as if each stood `by` (tokens,) positions further on; by its negative, un-rotated."""
        angles = np.asarray(by, np.float64)[:, None] * self.frequencies
        cos, sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        first, second = self.pairs(keys.shape[-1])
        out = np.array(keys, np.float32)
        x, y = out[..., first].copy(), out[..., second].copy()
        out[..., first], out[..., second] = x * cos - y * sin, y * cos + x * sin
        return out

    def pairs(self, d: int) -> tuple[slice, slice]:
        """Where in a key of `d` numbers the first and the second of each pair are."""
        half = len(self.frequencies)
        if 2 * half > d:
            raise ModelError(f"{2 * half} numbers of a key turn, and it has {d}")
        if self.interleaved:
            return slice(0, 2 * half, 2), slice(1, 2 * half, 2)
        return slice(half), slice(half, 2 * half)

    def _moves(self, here: np.ndarray, there: np.ndarray) -> bool:
        """Whether `there` is `here`, MOVE tokens further on, but for rounding: in most pairs that turn so far at all.

        Pairs are compared by their own size: those that hardly turn are often by far the largest.
        """
        turning = self.frequencies * MOVE > 0.5
        if 2 * len(turning) > here.shape[-1] or not turning.any():
            return False
        first, second = self.pairs(here.shape[-1])
        pairs = np.stack([np.arange(here.shape[-1])[each][turning] for each in (first, second)])
        wrong = (self.moved(here, np.full(here.shape[-2], MOVE)) - there)[..., pairs]
        sizes = [np.sqrt(np.square(each, dtype=np.float64).sum(axis=(0, 1, 2))) for each in (wrong, there[..., pairs])]
        return bool(np.median(sizes[0] / np.maximum(sizes[1], 1e-30)) < ALIKE)


def _keys(model: Any, start: int) -> list[np.ndarray]:
    """The keys (heads, tokens, d) of each layer, of a few tokens of which the first stands at `start`."""
    import torch

    ids = torch.arange(TOKENS, device=model.device)[None]
    try:
        with torch.inference_mode():
            out = model(ids, position_ids=ids + start, use_cache=True)
        cache = getattr(out, "cache", None) or out.past_key_values  # its name changed with transformers 5.24
    except (TypeError, ValueError, RuntimeError) as error:
        what = f"{type(model).__name__} does not read a text at a place that it is given"
        raise ModelError(f"{what} ({' '.join(str(error).split())[:200]}): its keys cannot be moved") from None
    keys = [getattr(layer, "keys", None) for layer in cache.layers]
    if any(each is None for each in keys):
        raise ModelError(f"{type(model).__name__} has layers that keep no keys: a text that it read cannot be moved")
    return [each[0].float().cpu().numpy() for each in keys if each is not None]
