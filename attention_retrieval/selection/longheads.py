"""LongHeads: each head reads the chunks of the text that its query wants, and no more than it was trained to read.

    o_j = softmax(q_j . k) V            over a chunk's own rows, not causal, for the prompt's queries j inside it
    c = mean_j o_j                      e = softmax(c . k / sqrt(d)) k        the chunk's key, of each query head
    read    the chunks of the largest sum over the group of q . e; sinks and window stand for the first and last ones

c is a mean of values that is compared with keys: as released. With `positions: remapped`, k is then turned as if its
chunk stood at position 0 and q not at all, and what is read is closed up (`moving.py`), as the paper has it; with
`text` all is as it was read. Two things differ: the prompt's queries are those that the cache has kept, a thin sample
of all positions, and a chunk without any, as those of an answer, has the mean of its values for c; and the heads of a
group choose together, since they share their keys.
(Y. Lu et al., "LongHeads: multi-head attention is secretly a long context processor", 2024, arXiv 2402.10685)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import PositiveInt, model_validator

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.selection.blocks import Blocks
from fovea.attention_retrieval.selection.moving import MovingSelected, MovingSelection
from fovea.attention_retrieval.selection.reading import Chosen
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors


class LongHeadsSelection(MovingSelection, name="longheads"):
    """The chunks that a kv head's queries want, `top_k` rows of them. O(rows d) once, with the queries kept."""

    top_k: PositiveInt = 4096
    """Rows that a kv head reads in a step, in whole chunks; rows behind the last whole chunk are always read."""

    chunk: PositiveInt = 256
    """Rows of a chunk."""

    @model_validator(mode="after")
    def _holds_chunks(self) -> LongHeadsSelection:
        if self.top_k < 2 * self.chunk:
            raise ValueError(f"top_k must hold two chunks of {self.chunk} rows, and is {self.top_k}")
        return self

    @property
    def needs_queries(self) -> bool:
        """For the keys of chunks."""
        return True

    @property
    def excludes(self) -> Mapping[str, str]:
        """Evictions: they cut holes into chunks."""
        return {**super().excludes, "evict": "chunks are stretches of the text, and an eviction cuts holes into them"}

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> LongHeadsSelected:
        """The key of every whole chunk."""
        made = LongHeadsSelected(self, keys, values, start)
        made.extend(stop, queries)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> LongHeadsSelected:
        """With the keys of its chunks."""
        made = LongHeadsSelected(self, keys, values, start)
        chunks = part(state, "chunks", np.float32, (keys.heads, None, (stop - start) // self.chunk, keys.d))
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop] or not chunks.shape[1]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        made.stop, made.chunks = stop, chunks
        if made.blocks:
            made.blocks.extend(stop)
        return made


class LongHeadsSelected(MovingSelected):
    """The keys of whole chunks, (kv heads, group, chunks, d); a group of one where no query was there."""

    settings: LongHeadsSelection

    def __init__(self, settings: LongHeadsSelection, keys: Vectors, values: Vectors, start: int) -> None:
        super().__init__(settings, keys, values, (start, start), "the chunks that a head's queries want")
        self.blocks = Blocks(keys, values, start, size=settings.chunk, estimate=True) if settings.estimate else None
        self.chunks = np.zeros((keys.heads, 1, 0, keys.d), np.float32)

    def choose(self, q: np.ndarray) -> Chosen:
        """The best chunks of each kv head, and the rows behind the last."""
        size, count = self.settings.chunk, self.chunks.shape[2]
        asked = self.settings.rotation.moved(q, np.full(q.shape[1], -self.now)) if self.settings.moves else q
        scores = np.einsum("hgd,hgcd->hc", asked, np.broadcast_to(self.chunks, (*q.shape[:2], count, q.shape[2])))
        behind = np.arange(self.start + count * size, self.stop)
        wanted = min(max((self.settings.top_k - len(behind)) // size, 1), count)
        best = np.sort(np.argpartition(-scores, wanted - 1, axis=1)[:, :wanted], axis=1)
        rows = self.start + (best[:, :, None] * size + np.arange(size)).reshape(len(q), -1)
        ids = np.concatenate([rows, np.broadcast_to(behind, (len(q), len(behind)))], axis=1).astype(np.int32)
        read = count * self.chunks.shape[1]
        return Chosen(ids, read, read * 4 * self.keys.d)

    def insert(self, stop: int) -> None:
        """The keys of chunks that have become whole, of which no query is kept."""
        self.extend(stop, None)

    def extend(self, stop: int, queries: Queries | None) -> None:
        """Take in the rows up to `stop`, with the prompt's queries among them."""
        first, last = self.chunks.shape[2], (stop - self.start) // self.settings.chunk
        new = [self._of_head(head, first, last, queries) for head in range(self.keys.heads)]
        group = max(self.chunks.shape[1], new[0].shape[0])
        old = np.broadcast_to(self.chunks, (self.keys.heads, group, *self.chunks.shape[2:]))
        more = np.stack([np.broadcast_to(each, (group, *each.shape[1:])) for each in new])
        self.chunks, self.stop = np.concatenate([old, more], axis=2), stop
        if self.blocks:
            self.blocks.extend(stop)

    def state(self) -> dict[str, np.ndarray]:
        """The keys of chunks, and which rows."""
        return {"chunks": self.chunks, "rows": np.array([self.start, self.stop], np.int64)}

    def _of_head(self, head: int, first: int, last: int, queries: Queries | None) -> np.ndarray:
        """The keys of chunks [first, last) of one kv head, (group, chunks, d)."""
        asked, size = queries(head) if queries else None, self.settings.chunk
        at = queries.rows(head) if queries and asked is not None else np.empty(0, np.int64)
        group = len(asked) // len(at) if asked is not None and len(at) else 1
        by_token = np.zeros((0, group, self.keys.d), np.float32) if asked is None else asked.reshape(len(at), group, -1)
        made = np.zeros((group, last - first, self.keys.d), np.float32)
        for n in range(first, last):
            low = self.start + n * size
            inside = slice(*np.searchsorted(at, [low, low + size]))
            made[:, n - first] = self._key(head, low, by_token[inside].transpose(1, 0, 2))
        return made

    def _key(self, head: int, low: int, queries: np.ndarray) -> np.ndarray:
        """e of the chunk that begins at row `low`, (group, d); queries (group, n, d) are those asked from inside it."""
        high = low + self.settings.chunk
        keys, values = self.keys.head(head).block(low, high), self.values.head(head).block(low, high)
        if queries.shape[1]:
            middle = (_softmax(queries @ keys.T) @ values).mean(axis=1)
        else:
            middle = np.broadcast_to(values.mean(axis=0), (len(queries), self.keys.d))
        if self.settings.moves:
            keys = self.settings.rotation.moved(keys, np.full(len(keys), -low))
        return np.asarray(_softmax(middle @ keys.T * self.keys.d**-0.5) @ keys)


def _softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))
