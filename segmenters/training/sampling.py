"""Training texts made of texts: cut out of one, or spliced of several, with vectors that shake a little.

A model that only ever saw whole articles would not know that topics also change from one text to another, nor that many
texts come without paragraphs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fovea.segmenters.blocks import unit

SPLICES = ((3, 11), (3, 5), (6, 8), (9, 11), (2, 16))
"""Ranges of units in a segment of a spliced text."""


@dataclass(frozen=True)
class Example:
    """Unit vectors `(units, dim)`, boundaries and paragraph ends, both float32 `(gaps,)`."""

    vectors: np.ndarray
    boundaries: np.ndarray
    breaks: np.ndarray

    def part(self, start: int, length: int) -> Example:
        """`length` units from `start` on."""
        gaps = slice(start, start + length - 1)
        return Example(self.vectors[start : start + length], self.boundaries[gaps], self.breaks[gaps])


def cropped(rng: np.random.Generator, example: Example, shortest: int, longest: int, whole: float = 0.3) -> Example:
    """A part of `shortest` to `longest` units, or all of it if that is short, or with probability `whole`."""
    n = len(example.vectors)
    if n <= shortest or (n <= 3 * longest and rng.random() < whole):
        return example
    length = int(rng.integers(shortest, min(n, longest) + 1))
    return example.part(int(rng.integers(0, n - length + 1)), length)


def spliced(rng: np.random.Generator, pool: Sequence[Example], marked: float = 0.2) -> Example:
    """3 to 11 parts of different texts, each taken for one segment; with probability `marked`, paragraphs are told."""
    low, high = SPLICES[int(rng.integers(len(SPLICES)))]
    parts = []
    for _ in range(int(rng.integers(3, 12))):
        example = pool[int(rng.integers(len(pool)))]
        length = min(len(example.vectors), int(rng.integers(low, high + 1)))
        parts.append(example.part(int(rng.integers(0, len(example.vectors) - length + 1)), length))
    edge = np.ones(1, np.float32)
    boundaries = [piece for p in parts for piece in (edge, np.zeros(len(p.vectors) - 1, np.float32))][1:]
    breaks = [piece for p in parts for piece in (edge, p.breaks)][1:]
    told = rng.random() < marked
    joined = Example(np.concatenate([p.vectors for p in parts]), np.concatenate(boundaries), np.concatenate(breaks))
    return joined if told else unmarked(joined)


def unmarked(example: Example) -> Example:
    """The same without paragraphs."""
    return replace(example, breaks=np.zeros_like(example.breaks))


def shaken(rng: np.random.Generator, example: Example, noise: float) -> Example:
    """Vectors moved by Gaussian noise of length `noise` on average, and scaled back."""
    size = example.vectors.shape
    moved = example.vectors + noise * rng.standard_normal(size, dtype=np.float32) / np.sqrt(size[1], dtype=np.float32)
    return replace(example, vectors=unit(moved))
