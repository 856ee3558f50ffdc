"""Prefill: which tokens before it a prompt's token reads.

    columns = prefill.columns(block)        # of up to 1,024 tokens of a prompt, in one layer
    out = attend(block.queries, rows columns.ids, those a token may see)

A policy gives the rows that a block of the prompt's tokens reads; the cache gathers them, and attends once. Every token
sees itself and nothing that comes after it, whatever a policy names.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component

if TYPE_CHECKING:
    import torch

BLOCK = 1024
"""Tokens of a prompt that attend at a time: bounds the mask to so many rows."""


@dataclass(frozen=True)
class Block:
    """Tokens of a prompt that follow each other, in one layer of one sequence."""

    queries: torch.Tensor
    """(kv heads, group, tokens, d), times the scaling."""
    start: int
    """The row of the first of them."""
    keys: Vectors
    """All rows up to the last of them, and maybe more."""
    sinks: int
    """The first tokens, which every token reads."""

    @property
    def stop(self) -> int:
        """One past the row of the last of them."""
        return self.start + self.queries.shape[2]


class Columns(NamedTuple):
    """What a block reads."""

    ids: np.ndarray
    """Rows, ascending, each once, all of them before the block's stop: (kv heads, columns) int64, or (1, columns)."""
    seen: np.ndarray | None = None
    """Whether a token sees a column, (kv heads or 1, tokens, columns) bool; None for every one that is not later."""


class Prefill(Component, kind="prefill"):
    """How a prompt is read. Built-ins live in `attention_retrieval/prefill/`, one file each."""

    @abstractmethod
    def columns(self, block: Block) -> Columns:
        """The rows that the block's tokens read; among them each token itself.

        As many for every kv head: a head that wants fewer names those, and hides the rest. A policy that decides by
        blocks reads a prompt that comes in pieces otherwise than one that comes whole, and says so.
        """
