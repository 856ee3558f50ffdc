"""Segmenter: where a text may be cut, and how strongly it breaks there."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import NonNegativeInt, PositiveInt, model_validator

from fovea.rag.component import Component
from fovea.rag.types import Document

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder


class Cut(NamedTuple):
    """A place between two characters, `text[:at] | text[at:]`, and how strongly the text breaks there.

    `score` 1 says that a segment ends here: the packer cuts there always, unless a chunk would fall under `min_tokens`.
    A score in `(0, 1)` says that one may cut here; the packer uses such places when a budget makes it cut, stronger
    ones first.
    """

    at: int
    score: float


class Segmenter(Component, kind="segmenter"):
    """Proposes ordered cuts; the packer (`fovea.segmenters.packer`) makes chunks of them under the budgets, in tokens
    of the encoder's own tokenizer counted on the final slice.

    Segmenters chain: each is given the spans made by the one before, one at a time, and never cuts across them.
    """

    version: ClassVar[int] = 2
    max_tokens: PositiveInt | None = None
    """No chunk is larger. Left out, the last segmenter of a chain takes the encoder's window, the others none."""
    min_tokens: NonNegativeInt = 0
    """A smaller chunk is joined to a neighbour, where `max_tokens` allows."""
    overlap: NonNegativeInt = 0
    """Tokens at most that a chunk repeats from the one before it, counted within `max_tokens`."""

    @model_validator(mode="after")
    def _budgets_fit(self) -> Segmenter:
        if self.max_tokens is not None:
            for field in ("min_tokens", "overlap"):
                if (value := getattr(self, field)) >= self.max_tokens:
                    raise ValueError(f"{field} ({value}) must be less than max_tokens ({self.max_tokens})")
        return self

    @abstractmethod
    def cuts(self, text: str, document: Document, encoder: Encoder) -> Iterable[Cut]:
        """Cuts strictly inside `text`, in rising order; `text` is the part of `document` to refine, often all of it."""
