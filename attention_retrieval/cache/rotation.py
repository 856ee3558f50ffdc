"""Rotation: a model's rotary positions, taken off keys and put on again elsewhere.

    k_p = R(p) k        R(p) turns the pair (x_j, y_j) of a key by the angle p f_j
    R(to) R(-from) = R(to - from)

so a key that was read at one position is the key of another, exactly: in float32 to 1e-7, and what bf16 rounds is its
cast. Which numbers make a pair differs: j and j + r/2 of the first r (Llama, Qwen, Gemma, GPT-NeoX), or 2j and 2j + 1
(GLM, Cohere); the model's own function is asked. (Su et al., "RoFormer", 2021, arXiv 2104.09864)
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.rag.errors import ModelError


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

        Raises ModelError for one without rotary positions, with frequencies of several kinds, or that change with the
        length of the text (dynamic NTK, LongRoPE): its keys cannot be moved.
        """
        found = [module for module in model.modules() if hasattr(module, "inv_freq")]
        kinds = {str(getattr(module, "rope_type", "default")) for module in found}
        if not found:
            raise ModelError(f"{type(model).__name__} has no rotary positions that keys could be moved by")
        if kinds & {"dynamic", "longrope"} or len({module.inv_freq.shape for module in found}) > 1:
            what = f"{type(model).__name__} turns keys by frequencies that depend on the text's length ({min(kinds)})"
            raise ModelError(f"{what}: they cannot be moved")
        frequencies = found[0].inv_freq.detach().double().cpu().numpy()
        for interleaved in (False, True):
            if (made := cls(frequencies, interleaved))._is_that_of(model, found[0]):
                return made
        raise ModelError(f"{type(model).__name__} turns keys in a way of its own: they cannot be moved")

    def moved(self, keys: np.ndarray, by: np.ndarray) -> np.ndarray:
        """Keys (..., tokens, d) as if each stood `by` (tokens,) positions further on; by its negative, un-rotated."""
        angles = np.asarray(by, np.float64)[:, None] * self.frequencies
        cos, sin = np.cos(angles), np.sin(angles)
        first, second = self._pairs(keys.shape[-1])
        out = np.array(keys, np.float32)
        x, y = keys[..., first].astype(np.float64), keys[..., second].astype(np.float64)
        out[..., first], out[..., second] = x * cos - y * sin, y * cos + x * sin
        return out

    def _pairs(self, d: int) -> tuple[np.ndarray, np.ndarray]:
        half = len(self.frequencies)
        if 2 * half > d:
            raise ModelError(f"{2 * half} numbers of a key turn, and it has {d}")
        if self.interleaved:
            return np.arange(0, 2 * half, 2), np.arange(1, 2 * half, 2)
        return np.arange(half), np.arange(half, 2 * half)

    def _is_that_of(self, model: Any, rotary: Any) -> bool:
        """Whether the function that the model's own file turns keys by does the same."""
        import torch

        apply = next(
            (
                found
                for module in model.modules()
                if (found := getattr(sys.modules[type(module).__module__], "apply_rotary_pos_emb", None))
            ),
            None,
        )
        if apply is None:
            return False
        half, rng = len(self.frequencies), np.random.default_rng(0)
        rows = rng.normal(size=(1, 1, 3, 2 * half)).astype(np.float32)
        given, places = torch.from_numpy(rows).to(rotary.inv_freq.device), torch.arange(3)[None]
        try:
            _, turned = apply(given, given.clone(), *rotary(given, places.to(given.device)))
        except (TypeError, ValueError, RuntimeError):
            return False
        alike = self.moved(rows, np.arange(3)) * float(getattr(rotary, "attention_scaling", 1.0))
        return bool(np.allclose(turned.float().cpu().numpy(), alike, atol=1e-5))
