"""TokenSelect: all query heads of a layer vote for the tokens that the layer reads.

    p_h = softmax_i(q_h . k_i)         over the rows between sinks and window, a query head at a time
    vote_i = sum_h p_h[i]              over all query heads of the layer
    read    the `top_k` rows of most votes, the same for every head
    again   the rows of the last vote, while cos(q, q then) >= `similar`; q is all heads' queries side by side

Softmax comes before the sum: of raw logits a few heads would decide alone. With `positions: remapped` votes are by keys
as if all stood where the last of them does, and what is read is closed up (`moving.py`). The paper is followed where
its code is not: logits are scaled, query head h votes on the keys of its own group, and the last vote is reused.
(W. Wu et al., "TokenSelect: efficient long-context inference and length extrapolation for LLMs via dynamic token-level
KV cache selection", 2024, arXiv 2411.02886)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.selection.blocks import Blocks
from fovea.attention_retrieval.selection.moving import MovingSelected, MovingSelection
from fovea.attention_retrieval.selection.reading import Chosen
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.slabs import SLAB
from fovea.attention_retrieval.vectors import Vectors

BLOCK = 64
"""Rows that stand together for what is not read, with `estimate`."""


class TokenSelection(MovingSelection, name="tokenselect"):
    """The `top_k` rows that the heads of a layer vote for. A vote reads every key: O(rows d) a kv head."""

    top_k: PositiveInt = 2048
    """Rows that the layer reads in a step."""

    similar: Annotated[float, Field(ge=-1, le=1)] | None = 0.9
    """The cosine from which on a step's queries are like those of the last vote, which then holds; null always votes.
    Queries of steps that follow each other are often alike where what they look for is not, so measure it."""

    @property
    def excludes(self) -> Mapping[str, str]:
        """Evictions, by head."""
        return {**super().excludes, "evict": "its heads read the same rows, and an eviction keeps others for each head"}

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> TokenSelected:
        """Nothing is made ahead but, with `remapped`, the keys without their positions, as many bytes again."""
        return TokenSelected(self, keys, values, start, stop)

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> TokenSelected:
        """The next step votes anew."""
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        return TokenSelected(self, keys, values, start, stop)


class TokenSelected(MovingSelected):
    """The last vote, and keys without positions where these are moved."""

    settings: TokenSelection

    def __init__(self, settings: TokenSelection, keys: Vectors, values: Vectors, start: int, stop: int) -> None:
        super().__init__(settings, keys, values, (start, start), "the tokens that all heads of a layer vote for")
        self.raw = keys.like_these() if settings.moves else None
        self.blocks = Blocks(keys, values, start, size=BLOCK, estimate=True) if settings.estimate else None
        self.voted: tuple[np.ndarray, np.ndarray] | None = None
        self.insert(stop)

    def choose(self, q: np.ndarray) -> Chosen:
        """The rows of the last vote, or of a new one."""
        asked = q.ravel() / max(float(np.linalg.norm(q)), 1e-30)
        if self.voted is not None and self.settings.similar is not None:
            before, ids = self.voted
            if before.shape == asked.shape and before @ asked >= self.settings.similar:
                return Chosen(ids, 0, 0)
        votes, k, rows = self._votes(q), self.settings.top_k, self.stop - self.start
        best = self.start + np.sort(np.argpartition(-votes, k - 1)[:k])
        ids = np.broadcast_to(best.astype(np.int32), (len(q), k)).copy()
        self.voted = asked, ids
        return Chosen(ids, rows, rows * self.keys.head(0).row_bytes)

    def insert(self, stop: int) -> None:
        """The next step votes anew."""
        if self.raw is not None:
            for low in range(self.stop, stop, SLAB):
                high = min(low + SLAB, stop)
                self.raw.append(self.settings.rotation.moved(self.keys.block(low, high), -np.arange(low, high)))
        if self.blocks is not None:
            self.blocks.extend(stop)
        self.stop, self.voted = stop, None

    def anew(self) -> None:
        """The next step votes anew."""
        self.voted = None

    def state(self) -> dict[str, np.ndarray]:
        """Which rows; the rest is theirs."""
        return {"rows": np.array([self.start, self.stop], np.int64)}

    @property
    def nbytes(self) -> int:
        """Bytes beside keys and values, of all heads."""
        blocks = sum(each.nbytes for each in self.blocks.parts.values()) if self.blocks else 0
        return super().nbytes + blocks + (self.raw.nbytes if self.raw is not None else 0)

    def _votes(self, q: np.ndarray) -> np.ndarray:
        """The sum of all query heads' attention to each row, (rows,)."""
        from fovea.attention_retrieval.kernels.attend import scan_logits

        keys, low, high = self.keys, self.start, self.stop
        if self.raw is not None:
            q = self.settings.rotation.moved(q, np.full(q.shape[1], 1 - self.stop))
            keys, low, high = self.raw, 0, self.stop - self.start
        votes = np.zeros(high - low)
        for head, mine in enumerate(q):
            logits = scan_logits(keys.head(head).stored, mine, low, high)
            weights = np.exp(logits - logits.max(axis=1, keepdims=True))
            votes += (weights / weights.sum(axis=1, keepdims=True)).sum(axis=0)
        return votes
