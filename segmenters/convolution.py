"""Gated causal convolutions in numpy, in pieces: what a trained network's encoder does, without torch.

The layers themselves are `fovea.segmenters.training.hnet_parts.GatedConvolution`. Each looks at the past only, so that
a text may be given piece by piece; a layer keeps the rows that later symbols still see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

TILE = 64
"""Rows of a product are filled up to a multiple of this: a row's result then does not depend on how many there are."""


@dataclass
class Convolution:
    """x + (silu(g) * conv(v)) W_out with (g, v) = norm(x) W_in, and the rows of v that later symbols still see."""

    gain: np.ndarray
    w_in: np.ndarray
    taps: np.ndarray
    """`(kernel, d)`, the last for the symbol itself."""
    w_out: np.ndarray
    dilation: int
    past: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        kernel, dim = self.taps.shape
        self.past = np.zeros(((kernel - 1) * self.dilation, dim), np.float32)

    def project(self, x: np.ndarray) -> np.ndarray:
        """norm(x) W_in, `(n, 2 d)`: of each row by itself."""
        scale = np.sqrt(np.mean(x * x, axis=1, keepdims=True) + 1e-6)
        return product(x / scale * self.gain, self.w_in)

    def mix(self, x: np.ndarray, projected: np.ndarray) -> np.ndarray:
        """The states of symbols `(n, d)` whose projection is at hand."""
        gate, value = np.split(projected, 2, axis=1)
        seen = np.concatenate([self.past, value])
        self.past = seen[len(seen) - len(self.past) :]
        mixed = np.zeros_like(value)
        for number, tap in enumerate(self.taps):
            at = number * self.dilation
            mixed += seen[at : at + len(value)] * tap
        return x + product(gate / (1 + np.exp(-gate)) * mixed, self.w_out)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The states `(n, d)` of the next n symbols."""
        return self.mix(x, self.project(x))


def stack(arrays: Mapping[str, np.ndarray], name: str, dilations: Sequence[int]) -> list[Convolution]:
    """The layers `NAME.0`, `NAME.1`, ... of a network, one for each dilation, before any text."""
    found = [
        [arrays[f"{name}.{n}.{part}"] for part in ("gain", "w_in", "taps", "w_out")] for n in range(len(dilations))
    ]
    return [Convolution(gain, w_in, taps, w_out, d) for (gain, w_in, taps, w_out), d in zip(found, dilations)]


def product(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """x W, rows filled up with zeros to whole tiles."""
    rows = -len(x) % TILE
    if not rows:
        return x @ weights
    return (np.concatenate([x, np.zeros((rows, x.shape[1]), x.dtype)]) @ weights)[: len(x)]
