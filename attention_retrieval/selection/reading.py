"""Selections that name rows: each step a head reads the rows that are chosen for it, and no others.

    out = attention to the `top_k` rows that are chosen, and to what is near
    what is not read      dropped, as these methods were published; or, with `estimate`, each block of rows stands for
                          those of its rows that were not read, by their mean key and mean value, as often as they are

The queries of a kv head's group read the same rows. Where there are no more than `top_k`, all are read.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import NamedTuple

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.blocks import Blocks
from fovea.attention_retrieval.selection.selection import Read, Selected, Selection
from fovea.attention_retrieval.vectors import Vectors


class ReadingSelection(Selection):
    """What these have in common."""

    top_k: PositiveInt = 2048
    """Rows that a kv head reads in a step."""

    estimate: bool = False
    """Whether blocks stand for the rows that are not read; else they are left out."""

    @property
    def finds(self) -> bool:
        """Where nothing is estimated."""
        return not self.estimate


class Chosen(NamedTuple):
    """The rows of a step."""

    ids: np.ndarray
    """Each head's in ascending order, -1 behind the last, (heads, n) int32."""
    scanned: int | np.ndarray
    """Vectors of full width that choosing them took of each head."""
    bytes: int | np.ndarray
    """Bytes of these."""


class RowsSelected(Selected):
    """Rows [start, stop), and blocks of them where they are estimated; a method says which are read."""

    blocks: Blocks | None
    """What stands for rows that are not read; None where they are left out."""

    def __init__(
        self, settings: ReadingSelection, keys: Vectors, values: Vectors, rows: tuple[int, int], why: str
    ) -> None:
        self.settings, self.keys, self.values, (self.start, self.stop) = settings, keys, values, rows
        self.reader, self.why = settings.name, why

    @abstractmethod
    def choose(self, q: np.ndarray) -> Chosen:
        """The rows for q (heads, queries, d), where there are more than `top_k`."""

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """Exact attention to the chosen rows, merged with `near` and with what stands for the others."""
        began, q = time.perf_counter(), np.ascontiguousarray(q, np.float32)
        chosen = self._all() if self.stop - self.start <= self.settings.top_k else self.choose(q)
        return self._read(q, near, chosen, (time.perf_counter() - began) / len(q))

    def reread(self, q: np.ndarray, near: Partial, ids: np.ndarray) -> Read:
        """The same with the rows `ids`."""
        return self._read(np.ascontiguousarray(q, np.float32), near, Chosen(ids, 0, 0), 0.0)

    def exact(self, q: np.ndarray, near: Partial, ids: np.ndarray) -> tuple[Partial, np.ndarray]:
        """Attention to `near` and the rows `ids`, and their logits (heads, queries, n)."""
        from fovea.attention_retrieval.kernels.rows import attend_rows

        out, lse, logits = attend_rows(self.keys.table, self.values.table, q, ids, near)
        return Partial(out, lse), logits

    def _read(self, q: np.ndarray, near: Partial, chosen: Chosen, seconds: float) -> Read:
        part, logits = self.exact(q, near, chosen.ids)
        estimated = 0
        if self.settings.estimate and self.blocks:
            part, estimated = merge(part, self.blocks.rest(q, chosen.ids)), 2 * len(self.blocks.sizes)
        counts = (chosen.ids >= 0).sum(axis=1)
        size = counts * (self.keys.head(0).row_bytes + self.values.head(0).row_bytes)
        rows, size = counts + chosen.scanned + estimated, size + chosen.bytes + estimated * 4 * self.keys.d
        found = () if self.settings.estimate else found_by(chosen.ids, logits, rows, size)
        return Read(part, rows, size, np.full(len(q), seconds), found)

    def _all(self) -> Chosen:
        ids = np.arange(self.start, self.stop, dtype=np.int32)
        return Chosen(np.broadcast_to(ids, (self.keys.heads, len(ids))).copy(), 0, 0)


def found_by(ids: np.ndarray, logits: np.ndarray, rows: np.ndarray, size: np.ndarray) -> list[Found]:
    """By head, as the report of where a model looked wants them."""
    return [
        Found(np.broadcast_to(mine, known.shape), known, int(count), int(read))
        for mine, known, count, read in zip(ids, logits, rows, size)
    ]
