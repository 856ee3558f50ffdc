"""Prefill: which tokens before it a prompt's token reads.

    columns = prefill.columns(block)        # of up to `prefill.rows` tokens of a prompt, in one layer
    out = merge(attend(block.queries, rows columns.ids), attend(block.queries, the block's own rows))

A policy names rows before a block; the block's own rows are read besides, each by those that come at or after it. The
cache gathers what is named once a block, attends without a mask where none is needed, and merges by log-sum-exp.

Blocks are aligned to the text: one begins at each multiple of `rows`, and where a piece of a prompt begins. So pieces
that end at multiples of `rows` are read as the whole prompt is, and by a policy that decides token by token all pieces
are. Another end makes two blocks of one, and each decides for itself, by its own queries.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fovea.attention_retrieval.columns import Columns
from fovea.rag.component import Component

if TYPE_CHECKING:
    import torch

BLOCK = 1024
"""Tokens of a prompt that attend at a time, where a policy wants no other number: bounds a mask to so many rows."""


@dataclass(frozen=True)
class Block:
    """Tokens of a prompt that follow each other, in one layer of one sequence."""

    queries: torch.Tensor
    """(kv heads, group, tokens, d), times the scaling."""
    start: int
    """The row of the first of them."""
    keys: torch.Tensor
    """All rows up to the last of them, and maybe more: (kv heads, rows, d), as stored, like the queries."""
    values: torch.Tensor
    """Likewise."""
    sinks: int
    """The first tokens, which every token reads."""
    layer: int = 0
    """Of the model, from 0."""
    memo: dict[str, Any] = field(default_factory=dict)
    """What a policy made of a layer's rows for one block is here for the later ones of the same piece."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """The same for later pieces too: of rows that stay as they are while the text grows."""

    @property
    def stop(self) -> int:
        """One past the row of the last of them."""
        return self.start + self.queries.shape[2]


class Prefill(Component, kind="prefill"):
    """How a prompt is read. Built-ins live in `attention_retrieval/prefill/`, one file each."""

    @property
    def rows(self) -> int:
        """Tokens that share their columns: a block is so long, or shorter at either end of a piece."""
        return BLOCK

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Raise ConfigError where the policy is of a model of another shape."""
        return

    @abstractmethod
    def columns(self, block: Block) -> Columns:
        """The rows before the block that its tokens read, sinks among them; its own rows need no name."""
