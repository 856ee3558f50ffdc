"""Stacked: many sectioned texts as one matrix of unit vectors, to draw pairs of blocks from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rag import progress
from segmenters.blocks import unit

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from segmenters.sectioned import Sectioned


def read_vectors(texts: Sequence[Sectioned], encoder: Encoder, label: str = "encode") -> list[np.ndarray]:
    """The vectors of each text's units: float32 `(units, dim)` each."""
    found = []
    with progress.bar(label, sum(len(text.units) for text in texts)) as bar:
        for text in texts:
            found.append(text.units.vectors(encoder))
            bar.advance(len(text.units))
    return found


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
    def of(cls, texts: Sequence[Sectioned], vectors: Sequence[np.ndarray]) -> Stacked:
        """Stack texts and their vectors."""
        numbers = np.repeat(np.arange(len(texts)), [len(v) for v in vectors])
        begins = [_begins(text.boundaries) for text in texts]
        paragraphs = [_begins(text.boundaries | text.units.breaks) for text in texts]
        return cls(
            np.concatenate(vectors), numbers, np.cumsum(np.concatenate(begins)), np.cumsum(np.concatenate(paragraphs))
        )

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
