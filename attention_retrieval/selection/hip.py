"""HiP at decoding: chunks are judged by a descent into each of them, coarse chunks first.

    stage of chunks of c rows, for each query
      [l, r) = the chunk;  until it is one row:  m = (l + r) / 2
          the rows in the middle of [l, m) and of [m, r) are scored, and the better half is gone into
      score of the chunk = the best score on its way: 2 log2(c) products
      the best chunks go on, cut into chunks of the next stage; those of the last stage are read

A chunk's best row is missed where neither middle hints at it: HiP counts on keys near in the text being alike. Chunks
that stages keep are used again for `refresh` steps, and made anew when rows come. Each query descends for itself; a kv
head keeps the chunks that any query of its group wants most. (H. Lee et al., "A training-free sub-quadratic cost
transformer model serving framework with hierarchically pruned attention", arXiv 2406.09827; stages, their sizes and
refreshing: "InfiniteHiP", 2025, arXiv 2502.08910. Not here: its other positions beyond a model's window, its 4,096 rows
in some layers.)
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from fovea.attention_retrieval.index.state import damaged, part, within
from fovea.attention_retrieval.selection.blocks import Blocks, best
from fovea.attention_retrieval.selection.reading import Chosen, ReadingSelection, RowsSelected
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Rows, Vectors


class HipSelection(ReadingSelection, name="hip"):
    """The chunks of a kv head whose descents meet the best rows."""

    chunks: tuple[PositiveInt, ...] = Field(default=(256, 32, 8), min_length=1)
    """Rows of a chunk, stage by stage; each divides the one before."""

    keep: tuple[PositiveInt, ...] = (32_768, 8192)
    """Rows that each stage but the last leaves to the next; the last leaves `top_k`."""

    refresh: tuple[PositiveInt, ...] = (32, 16, 8)
    """Steps that what each stage keeps is used for; each divides the one before."""

    @model_validator(mode="after")
    def _fits(self) -> HipSelection:
        stages = len(self.chunks)
        if len(self.keep) != stages - 1 or len(self.refresh) != stages:
            got = f"got {len(self.keep)} and {len(self.refresh)}"
            raise ValueError(f"{stages} chunks want {stages - 1} keep and {stages} refresh, {got}")
        for name, numbers in (("chunks", self.chunks), ("refresh", self.refresh)):
            if odd := [(a, b) for a, b in pairwise(numbers) if a % b]:
                raise ValueError(
                    f"{name}: each must divide the one before, and {odd[0][1]} does not divide {odd[0][0]}"
                )
        for size, rows in zip(self.chunks, (*self.keep, self.top_k)):
            if rows < size:
                raise ValueError(
                    f"a stage of chunks of {size} rows cannot leave {rows}: keep and top_k hold one at least"
                )
        return self

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> HipSelected:
        """Nothing is made of the rows, but where they are estimated: O(rows d) then."""
        made = HipSelected(self, keys, values, start, start)
        made.insert(stop)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> HipSelected:
        """With the chunks that stages had kept."""
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        made = HipSelected(self, keys, values, start, stop)
        if made.blocks:
            made.blocks.restored(state, stop)
        step = int(within(part(state, "step", np.int64, (1,)), "step", 0, 1 << 62)[0])
        kept = [part(state, f"kept.{n}", np.int64, (None, None)) for n in range(len(self.chunks))]
        for n, each in enumerate(kept):
            if each.size and len(each) != keys.heads:
                raise damaged(f"part 'kept.{n}' is of {len(each)} heads, not {keys.heads}")
            within(each, f"kept.{n}", -1, -(-(stop - start) // self.chunks[n]))
            if ((np.diff(each) <= 0) & (each[:, 1:] >= 0)).any():
                raise damaged(f"part 'kept.{n}' is not in order")
        made.stages = step, tuple(kept)
        return made


class HipSelected(RowsSelected):
    """How many steps there were, and the chunks that each stage kept last, (heads, n), -1 behind the last."""

    settings: HipSelection
    stages: tuple[int, tuple[np.ndarray, ...]]

    def __init__(self, settings: HipSelection, keys: Vectors, values: Vectors, start: int, stop: int) -> None:
        super().__init__(settings, keys, values, (start, stop), "chunks are judged by a descent into each")
        size = settings.chunks[-1]
        self.blocks = Blocks(keys, values, start, size=size, estimate=True) if settings.estimate else None
        self.anew()

    def choose(self, q: np.ndarray) -> Chosen:
        """The stages that are due, from the chunks that those before them kept."""
        settings, (step, kept) = self.settings, self.stages
        chunks, left, scanned = settings.chunks, [*settings.keep, settings.top_k], np.zeros(len(q), np.int64)
        made = list(kept)
        for n, size in enumerate(chunks):
            if step % settings.refresh[n] == 0 or not made[n].size:
                if n:
                    candidates = self._cut(made[n - 1], chunks[n - 1] // size, size)
                else:
                    every = np.arange(-(-(self.stop - self.start) // size))
                    candidates = np.broadcast_to(every, (len(q), len(every)))
                made[n], more = self._stage(q, candidates, size, left[n])
                scanned += more
        self.stages = step + 1, tuple(made)
        ids = self.start + made[-1][:, :, None] * chunks[-1] + np.arange(chunks[-1])
        ids = np.where((made[-1][:, :, None] >= 0) & (ids < self.stop), ids, -1).reshape(len(q), -1)
        return Chosen(ids.astype(np.int32), scanned, scanned * self.keys.head(0).row_bytes)

    def insert(self, stop: int) -> None:
        """All stages begin anew."""
        if self.blocks:
            self.blocks.extend(stop)
        self.stop = stop
        self.anew()

    def state(self) -> dict[str, np.ndarray]:
        """What stages have kept, and what stands for chunks."""
        step, kept = self.stages
        parts = {f"kept.{n}": each for n, each in enumerate(kept)}
        rows = {"rows": np.array([self.start, self.stop], np.int64), "step": np.array([step], np.int64)}
        return {**(self.blocks.parts if self.blocks else {}), **parts, **rows}

    def anew(self) -> None:
        """What stages have kept is no part of what comes."""
        self.stages = 0, tuple(np.zeros((self.keys.heads, 0), np.int64) for _ in self.settings.chunks)

    def _cut(self, kept: np.ndarray, parts: int, size: int) -> np.ndarray:
        """Chunks of the next stage: `parts` of each, of `size` rows; those that are behind the end are none."""
        cut = (kept[:, :, None] * parts + np.arange(parts)).reshape(len(kept), -1)
        there = np.repeat(kept >= 0, parts, axis=1) & (cut * size < self.stop - self.start)
        return np.where(there, cut, -1)

    def _stage(self, q: np.ndarray, candidates: np.ndarray, size: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
        """The chunks that are kept of the candidates (heads, n), ascending; and how many rows each head scored."""
        scores = np.full((*q.shape[:2], candidates.shape[1]), -np.inf, np.float32)
        scanned = np.zeros(len(q), np.int64)
        for head, mine in enumerate(candidates):
            there = mine >= 0
            low = self.start + mine[there] * size
            high = np.minimum(low + size, self.stop)
            scores[head][:, there], scanned[head] = descend(self.keys.head(head), q[head], low, high)
        places = best(scores, max(rows // size, 1))
        return np.take_along_axis(candidates, places, axis=1), scanned


def descend(keys: Rows, q: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, int]:
    """The best score of each query on its way into each chunk [low, high), (queries, chunks), and how many were made.

    q (queries, d); low and high (chunks,), none empty. Rows are scored in steps, all chunks' of all queries together.
    """
    from fovea.attention_retrieval.kernels.take import take

    queries, d = q.shape
    left, right = (np.broadcast_to(each, (queries, len(each))).copy() for each in (low, high))
    found, scanned = np.full(left.shape, -np.inf, np.float32), 0
    while True:
        middle = (left + right) // 2
        probes = np.stack([(left + middle) // 2, (middle + right) // 2])
        rows = take(keys.stored, probes.reshape(-1).astype(np.int32)).reshape(*probes.shape, d)
        one, two = np.einsum("pgnd,gd->pgn", rows, q)
        np.maximum(found, np.maximum(one, two), out=found)
        scanned += probes.size
        if (right - left).max(initial=0) <= 2:
            return found, scanned
        first = one > two  # where both score alike, what lies midway between them is the second half's first row
        left, right = np.where(first, left, middle), np.where(first, middle, right)
