"""What a method makes of a step, and in what time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from fovea.attention_retrieval.index.engine import Found, Index
from fovea.attention_retrieval.partial import Partial, merge
from fovea.pipelines.bench.attention_heads import Head, Step

if TYPE_CHECKING:
    from fovea.attention_retrieval.corrections.correction import Corrected


class Answer(NamedTuple):
    """Attention of one step's queries."""

    whole: Partial
    ids: np.ndarray | None
    """(group, k) of the largest logits; None where there was no search for those"""
    plain: bool
    """Whether the log-sum-exp of `whole` is that of rows alone: none weighted, nothing estimated, and known"""
    scanned: int
    bytes: int
    select: float
    attend: float


class Ready(Protocol):
    """A method over one head."""

    @property
    def nbytes(self) -> int:
        """Of the index, without the keys."""

    def answer(self, step: Step, k: int) -> Answer:
        """Attention of the step's queries, by this method."""


@dataclass
class Searched:
    """An index; what it finds is attended to, corrected or not, with the static set."""

    head: Head
    index: Index
    corrected: Corrected | None = None
    more: int = 0
    """Rows that the correction wants beyond k."""

    @property
    def nbytes(self) -> int:
        """Of the index and the correction, without the keys."""
        return self.index.nbytes + (self.corrected.nbytes if self.corrected else 0)

    def answer(self, step: Step, k: int) -> Answer:
        """Search, attend, merge."""
        began = time.perf_counter()
        found = self.index.search(step.q, k + self.more)
        between = time.perf_counter()
        if self.corrected is None:
            return answered(self.head, step, found, began, between)
        whole = merge(self.corrected.attend(step.q, found), self.head.static(step))
        times = between - began, time.perf_counter() - between
        ids = found.ids if not len(self.index.keys.bias) else None
        scanned, read = found.scanned + self.corrected.scanned, found.bytes + self.corrected.bytes
        return Answer(whole, ids, False, scanned, read, *times)


def answered(head: Head, step: Step, found: Found, began: float, between: float) -> Answer:
    """Attention to what was found by a search that took from `began` to `between`, and to the static set."""
    from fovea.attention_retrieval.kernels.attend import attend_ids

    whole = merge(Partial(*attend_ids(head.values.stored, found.ids, found.logits)), head.static(step))
    times = between - began, time.perf_counter() - between
    return Answer(whole, found.ids, True, found.scanned, found.bytes, *times)
