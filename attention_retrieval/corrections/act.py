"""ACT: sinks in mid-text are attended to less, and what this frees goes to all else, in the heads that gain by it.

    Z = {j : mean over the rows i >= j of A[i, j] > `threshold`}, without the first of them
    w = exp(lse_Z - lse)                                      the share of a token's attention that Z gets
    out = beta w o_Z + (1 - beta w) o_R                       o_R is attention to all but Z: (o - w o_Z) / (1 - w)

A is the prompt's attention, a query head at a time, by the queries that the cache has kept. In the map this is
A[i, Z] *= beta, and (1 - beta) sum_Z A[i, .] shared among the others in proportion to their weights. A prompt is read
as the model reads it, and Z is found once it is read; then every decoded token attends so. Which heads gain is found by
trying each alone: `fovea train heads act` (`probes/act_heads.py`). What a selection leaves out of Z is counted as if it
had been read.
(Z. Yu et al., "Unveiling and harnessing hidden attention sinks", ICML 2024, arXiv 2406.15765; public code of June 2024)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, NonNegativeInt, PositiveFloat, ValidationInfo, field_validator

from fovea.attention_retrieval.corrections.correction import Corrected, Correction
from fovea.attention_retrieval.head_files import json_of
from fovea.attention_retrieval.index.engine import Found, Keys
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.vectors import Rows

PIECE = 256
"""Queries whose attention to all rows is held at a time."""


Named = tuple[tuple[NonNegativeInt, NonNegativeInt], ...]


class ActCorrection(Correction, name="act"):
    """Beside what stands for rows that were not found, `rest`."""

    needs_queries = True

    heads: Named = ()
    """The query heads whose sinks are taken down, [layer, head] from 0, or the path of a JSON file of them, or of its
    folder."""

    beta: Annotated[float, Field(ge=0, le=1)] = 0.4
    """What is left of a sink's attention."""

    threshold: PositiveFloat = 0.1
    """The mean attention from which on a token is a sink."""

    rest: Correction | None = Field(default_factory=lambda: Correction.model_validate({"use": "tail"}))
    """What stands for the rows that an index did not find: `{use: tail}`, `{use: lift}`, or null for nothing."""

    @field_validator("rest")
    @classmethod
    def _other(cls, rest: Correction | None) -> Correction | None:
        if isinstance(rest, ActCorrection):
            raise ValueError("act stands for no rows that were not found: {use: tail}, {use: lift}, or null")
        return rest

    @field_validator("heads", mode="before", json_schema_input_type=Named | str)
    @classmethod
    def _read(cls, heads: Any, info: ValidationInfo) -> Any:
        if not isinstance(heads, str):
            return heads
        said = json_of(heads, "act", info, "heads")
        if not isinstance(said, dict) or set(said) != {"heads"}:
            raise ValueError(f'{heads} is no JSON of heads: {{"heads": [[layer, head], ...]}}')
        return said["heads"]

    def of(self, layer: int) -> list[int]:
        """The query heads of a layer."""
        return sorted({head for at, head in self.heads if at == layer})

    def sinks(self, queries: np.ndarray, at: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Z of one head, ascending, int32: queries (n, d), times the scaling, of the rows `at` (n,); keys (rows, d).

        O(n rows d). A column's mean is over the given queries that can see it; one that none can see is no sink.
        """
        total = np.zeros(len(keys))
        for first in range(0, len(queries), PIECE):
            logits, mine = queries[first : first + PIECE] @ keys.T, at[first : first + PIECE, None]
            logits[np.arange(len(keys)) > mine] = -np.inf
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            total += (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
        seeing = len(at) - np.searchsorted(np.sort(at), np.arange(len(keys)))
        return np.flatnonzero(total > self.threshold * np.maximum(seeing, 1))[1:].astype(np.int32)

    def bias(self, rows: int, *, seed: int, layer: int, head: int) -> np.ndarray:
        """That of `rest`."""
        there = self.rest.bias(rows, seed=seed, layer=layer, head=head) if self.rest else None
        return super().bias(rows, seed=seed, layer=layer, head=head) if there is None else there

    def over(self, keys: Keys, values: Rows, queries: np.ndarray | None = None, *, seed: int = 0) -> Corrected:
        """What `rest` makes: sinks are no matter of an index, but of all attention together."""
        return self.rest.over(keys, values, queries, seed=seed) if self.rest else Uncorrected(values)

    def restore(self, keys: Keys, values: Rows, state: Mapping[str, np.ndarray]) -> Corrected:
        """That of `rest`."""
        return self.rest.restore(keys, values, state) if self.rest else Uncorrected(values)


class Uncorrected(Corrected):
    """Found rows alone."""

    def __init__(self, values: Rows) -> None:
        self.values = values

    def attend(self, q: np.ndarray, found: Found) -> Partial:
        """To these."""
        from fovea.attention_retrieval.kernels.attend import attend_ids

        return Partial(*attend_ids(self.values.stored, found.ids, found.logits))

    def insert(self, keys: Keys) -> None:
        """Nothing is kept."""
        return


def attended(keys: Rows, values: Rows, q: np.ndarray, ids: np.ndarray) -> Partial:
    """Attention of q (queries, d) to the rows `ids` (n,) of a head."""
    from fovea.attention_retrieval.kernels.attend import attend_ids

    each = np.broadcast_to(ids, (len(q), len(ids))).astype(np.int32)
    return Partial(*attend_ids(values.stored, each, (q @ keys.take(ids).T).astype(np.float32)))


def calmed(whole: Partial, sinks: Partial, beta: float) -> np.ndarray:
    """The output (queries, d) of attention `whole` with the part `sinks` of it times `beta`.

    Where sinks get all, nothing else is known, and the output stays.
    """
    share = np.minimum(np.exp(sinks.lse - whole.lse), 1)[:, None]
    left = 1 - share
    others = (whole.out - share * sinks.out) / np.where(left > 1e-6, left, 1)
    mixed = beta * share * sinks.out + (1 - beta * share) * others
    return np.where(left > 1e-6, mixed, whole.out).astype(np.float32)
