"""Situator: what is said of a chunk's place in its document, for its vector and for the words it is found by.

A short chunk often leaves out what it is about: the title and the headings above it say that, or a sentence somewhere
before. With x the chunk's own unit vector, E the encoder and t what is said of the chunk's place, its vector becomes

    add       unit(x + weight E(t))
    prefix    E(t + separator + chunk)
    residual  unit(x + weight E(t + separator + chunk))
    none      x

and the words of t are indexed with the chunk's own, where `lexical` says so. The chunk's text stays the slice that it
is. A chunk of which nothing is said keeps its own vector. How much context should weigh depends on what the chunks
leave out, so `weight` is a setting to sweep; own vectors and those of what is said are remembered, so that another
weight encodes nothing. The residual sum is that of SitEmb (Wu et al., "SitEmb-v1.5: Improved Context-Aware Dense
Retrieval for Semantic Association and Long Story Comprehension", 2025), without its training.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from fovea.rag.component import Component
from fovea.rag.tables import with_headers
from fovea.rag.types import Chunk, Document
from fovea.rag.windows import scaled

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

Form = Literal["add", "prefix", "residual", "none"]

ALARM = 0.2
"""A rise of `alikeness`, on average over documents, beyond which context may hide what each chunk says."""


class Situator(Component, kind="situator"):
    """Situates chunks by what `texts` says of them. What it says may depend on the document's text, title, media type
    and metadata, and on its chunks; never on the document's name.
    """

    reads_states: ClassVar[bool] = False
    """Whether it needs an encoder that shows the states of tokens."""

    form: Form = "add"
    """How what is said enters the vector: `add` its own vector, `prefix` it stands before the chunk, `residual` the
    vector of that is added to the chunk's own, `none` not at all."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    """How much the situation counts beside the chunk itself, in the forms `add` and `residual`."""
    lexical: bool = True
    """Whether the words of what is said are indexed with the chunk's own."""
    separator: str = ". "
    """Stands between what is said and the chunk, where they are encoded as one text."""

    @abstractmethod
    def texts(self, document: Document, chunks: Sequence[Chunk]) -> list[str]:
        """What is said of the place of each chunk; "" for nothing."""

    def vectors(self, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`, rows of unit length, from the pooler's `own` vectors of the same shape; for chunks
        of `document` in rising order.
        """
        if self.form == "none" or not chunks:
            return own
        said = self.texts(document, chunks)
        some = [i for i, text in enumerate(said) if text]
        if not some:
            return own
        own_texts = with_headers(document, chunks)
        read = [said[i] if self.form == "add" else said[i] + self.separator + own_texts[i] for i in some]
        made = own.copy()
        made[some] = self.joined(own[some], encoder.encode(read))
        return made

    def joined(self, own: np.ndarray, situation: np.ndarray) -> np.ndarray:
        """Own vectors and those of the situations, `(n, dim)` each, as the form has it: `situation` itself for
        `prefix`, `own` for `none`, else `unit(own + weight * situation)`. Where these cancel out, `own` stays.
        """
        if self.form in ("prefix", "none"):
            return situation if self.form == "prefix" else own
        made = scaled(own + self.weight * situation)
        cancelled = ~made.any(axis=1)
        made[cancelled] = own[cancelled]
        return made.astype(own.dtype, copy=False)


def alikeness(vectors: np.ndarray) -> float:
    """Mean cosine of different rows of unit vectors `(n, dim)`: `(|sum|^2 - n) / (n (n - 1))`; 0 for less than two."""
    import numpy as np

    n = len(vectors)
    if n < 2:
        return 0.0
    total = vectors.sum(axis=0, dtype=np.float64)
    return float((total @ total - n) / (n * (n - 1)))
