"""Quest's block selection: of every block a bound says how large a logit it can hold, and the best are read.

    bound of block b = sum_j max(q_j low_bj, q_j high_bj)       low, high the least and largest keys of b by channel
    read             = the top_k / size blocks of the largest bound

No row of a block has a larger logit than its bound, but the bound may be far above all of them: it is loose where a
block's keys differ. Quest has every query head choose for itself; here a kv head chooses for its group, each block
counting as for the query that wants it most, in logits below the best of that query. Other vectors that may stand for a
block are options. (J. Tang et al., "Quest: query-aware sparsity for efficient long-context LLM inference", 2024, arXiv
2406.10774: pages of 16; the first two layers read everything there.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import PositiveInt, model_validator

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.selection.blocks import Blocks, Stands, best
from fovea.attention_retrieval.selection.reading import Chosen, ReadingSelection, RowsSelected
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors


class BlockBoundsSelection(ReadingSelection, name="block_bounds"):
    """The blocks with the largest bound on a logit, of each kv head."""

    size: PositiveInt = 16
    """Rows of a block."""

    represent: Stands = "bounds"
    """What says how much a block holds: `bounds`; the `mean` of its keys; or `last`, a running summary of them, as the
    block's last token has it (RAT); or `queries`, the mean weighted by how much the prompt's queries from inside the
    block attend to each of its keys (Combiner), with even weights where none were kept."""

    @model_validator(mode="after")
    def _fits(self) -> BlockBoundsSelection:
        if self.top_k < self.size:
            raise ValueError(f"top_k ({self.top_k}) must be at least the size ({self.size}) of a block")
        return self

    @property
    def needs_queries(self) -> bool:
        """Where they weigh what stands for a block."""
        return self.represent == "queries"

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> BlocksSelected:
        """O(rows d) a head."""
        blocks = Blocks(keys, values, start, size=self.size, by=self.represent, estimate=self.estimate)
        blocks.extend(stop, blocks.pooled(queries, stop) if queries and self.needs_queries else None)
        return BlocksSelected(self, blocks)

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> BlocksSelected:
        """Every block must be there."""
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        blocks = Blocks(keys, values, start, size=self.size, by=self.represent, estimate=self.estimate)
        return BlocksSelected(self, blocks.restored(state, stop))

    def wanted(self, scores: np.ndarray) -> np.ndarray:
        """The blocks that are read, (heads, n) in order, by their scores (heads, queries, blocks)."""
        return best(scores, max(self.top_k // self.size, 1))


class BlocksSelected(RowsSelected):
    """What stands for each block."""

    settings: BlockBoundsSelection
    blocks: Blocks

    def __init__(self, settings: BlockBoundsSelection, blocks: Blocks) -> None:
        why = f"blocks of {settings.size} rows are chosen by their {settings.represent}"
        super().__init__(settings, blocks.keys, blocks.values, (blocks.start, blocks.stop), why)
        self.blocks = blocks

    def choose(self, q: np.ndarray) -> Chosen:
        """One product of the queries with what stands for the blocks, two for bounds."""
        scanned = self.blocks.per_block * len(self.blocks.sizes)
        ids = self.blocks.rows(self.settings.wanted(self.blocks.scores(q)))
        return Chosen(ids, scanned, 4 * self.keys.d * scanned)

    def insert(self, stop: int) -> None:
        """The last block fills up; others follow."""
        self.blocks.extend(stop)
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """What stands for the blocks, and the rows."""
        return {**self.blocks.parts, "rows": np.array([self.start, self.stop], np.int64)}
