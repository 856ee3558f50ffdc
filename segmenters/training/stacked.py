"""Stacked: many texts as one matrix of unit vectors, to draw pairs of blocks from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fovea.segmenters.blocks import unit
from fovea.segmenters.training.sampling import Example


@dataclass(frozen=True)
class Stacked:
    """All units of some texts in order, and where each belongs; parts are numbered through all texts."""

    vectors: np.ndarray
    """Float32 `(units, dim)`."""
    text: np.ndarray
    section: np.ndarray
    paragraph: np.ndarray
    """Int `(units,)` each, rising; a section's end ends a paragraph too, and a text that marks no paragraphs has one
    a section."""

    @classmethod
    def of(cls, texts: Sequence[Example]) -> Stacked:
        """Stack texts."""
        vectors = np.concatenate([text.vectors for text in texts])
        numbers = np.repeat(np.arange(len(texts)), [len(text.vectors) for text in texts])
        sections = np.concatenate([_begins(text.boundaries > 0) for text in texts])
        paragraphs = np.concatenate([_begins((text.boundaries > 0) | (text.breaks > 0)) for text in texts])
        return cls(vectors, numbers, np.cumsum(sections), np.cumsum(paragraphs))

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def spans(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """For each unit where its text, section and paragraph begin and end: int `(units,)` each."""
        parts = {"text": self.text, "section": self.section, "paragraph": self.paragraph}
        return {k: (np.searchsorted(v, v, "left"), np.searchsorted(v, v, "right")) for k, v in parts.items()}

    def blocks(self, at: np.ndarray, sizes: np.ndarray, step: int, within: str) -> np.ndarray:
        """Unit vectors of the blocks of `sizes` units that begin at units `at` and go on by `step`, 1 or -1, as far as
        the part `within` reaches: float32 `(blocks, dim)`.
        """
        first, last = self.spans[within]
        total = np.zeros((len(at), self.vectors.shape[1]), np.float32)
        for k in range(int(sizes.max())):
            there = at + step * k
            inside = (k < sizes) & (there >= first[at]) & (there < last[at])
            total[inside] += self.vectors[there[inside]]
        return unit(total)


def _begins(ends: np.ndarray) -> np.ndarray:
    """Where a part begins: bool `(units,)`, of where parts end `(gaps,)`."""
    return np.concatenate([[True], ends])
