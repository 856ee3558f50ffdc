"""Recycled Attention: a full step now and then, and between them what it found is read again.

    full step    attention to every row, or by the selection `of`;  kept: the `top_k` rows of most weight a kv head
                 weight of row i = sum over the group's queries of exp(q . k_i - lse)
    between      attention to the rows kept, and to what is near
    due          every `every` tokens; with `below`, only where cos(q, q at the last full step) < `below` then
    `layers`     the first of every so many layers chooses, and the others read the rows that it has just read

New tokens are near, so they are read without taking the place of a kept row; in the paper the row of least weight makes
room for each. After rows were taken in, after a prompt, and where the text is cut back, the next step is full. The
dynamic form is `every: 5, below: 0.8`. Queries may be alike where what they look for is not: measure `below` first.
Layers that share are Kascade's idea (Microsoft, 2025), with runs of one length in place of layers chosen by dynamic
programming, and heads paired by their numbers. (F. Xu et al., "Recycled Attention: efficient inference for long-context
language models", 2024, arXiv 2411.05787)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveInt, model_validator

from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.index.state import damaged, part, under
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.selection.blocks import Blocks
from fovea.attention_retrieval.selection.reading import Chosen, ReadingSelection, RowsSelected, found_by
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Vectors

BLOCK = 64
"""Rows that stand together for what is not read, with `estimate`."""


class RecycledSelection(ReadingSelection, name="recycled"):
    """Full attention at every `every`-th token, the rows that it found at the others."""

    top_k: PositiveInt = 4096
    """Rows that a kv head keeps of a full step."""

    every: PositiveInt = 50
    """Tokens from one full step to the next, or to the next comparison."""

    below: Annotated[float, Field(ge=-1, le=1)] | None = None
    """The cosine, of all heads' queries side by side, below which a step that is due is full; null for all of them."""

    layers: PositiveInt = 1
    """How many layers read what the first of them chose."""

    of: Selection | None = None
    """What a full step reads, `{use: retrieval, ...}` or another that names rows; null for all rows."""

    @model_validator(mode="after")
    def _names_rows(self) -> RecycledSelection:
        if self.of and self.estimate:
            raise ValueError("estimate says what stands beside all rows: leave out of, or say it there")
        if self.of and not self.of.finds:
            raise ValueError(
                f"{{use: {self.of.name}}} names no rows that could be read again: another under of, or null"
            )
        return self

    @property
    def finds(self) -> bool:
        """Not as a whole."""
        return False

    @property
    def needs_queries(self) -> bool:
        """Where the inner one does."""
        return self.of is not None and self.of.needs_queries

    @property
    def run(self) -> int:
        """`layers`."""
        return self.layers

    @property
    def moves(self) -> bool:
        """Where the inner one does."""
        return self.of is not None and self.of.moves

    @property
    def excludes(self) -> Mapping[str, str]:
        """What the inner one does, and with `layers` what lets heads and layers hold other rows."""
        inner = self.of.excludes if self.of else {}
        if self.layers == 1:
            return inner
        why = "layers read the rows of another one, and would have to hold the same: layers: 1"
        return {"evict": why, "heads": why, **inner}

    @property
    def wants_rotation(self) -> bool:
        """Where the inner one does."""
        return self.of is not None and self.of.wants_rotation

    def with_rotation(self, rotation: Rotation) -> RecycledSelection:
        """The same, the inner one told."""
        return self.model_copy(update={"of": self.of and self.of.with_rotation(rotation)})

    def in_layer(self, layer: int) -> RecycledSelection:
        """The same, the inner one of that layer."""
        return self.model_copy(update={"of": self.of and self.of.in_layer(layer)})

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Where the inner one does."""
        if self.of:
            self.of.check(layers, query_heads, kv_heads)

    def check_model(self, model: str, identity: Callable[[str], str]) -> None:
        """Where the inner one does."""
        if self.of:
            self.of.check_model(model, identity)

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> RecycledSelected:
        """Over the inner one; nothing else is made ahead."""
        if self.of is None:
            return RecycledSelected(self, Whole(self, keys, values, start, stop))
        return RecycledSelected(self, self.of.over(keys, values, start, stop, queries=queries, seed=seed))

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> RecycledSelected:
        """The next step is full."""
        if self.of is not None:
            return RecycledSelected(self, self.of.restore(keys, values, under("of.", state), start, stop))
        if part(state, "of.rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'of.rows' is not of rows {start} to {stop}")
        return RecycledSelected(self, Whole(self, keys, values, start, stop))


class RecycledSelected(Selected):
    """The inner state, and what the last full step found."""

    def __init__(self, settings: RecycledSelection, inner: Selected) -> None:
        self.settings, self.inner = settings, inner
        self.start, self.stop, self.reader = inner.start, inner.stop, settings.name
        self.why = f"what {inner.reader} found, again for {settings.every} tokens: {inner.why}"
        self.ids: np.ndarray | None = None
        """What the last step read, (heads, n) int32, -1 is nobody."""
        self.asked: np.ndarray = np.zeros(0, np.float32)
        self.steps = 0

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """A full step where it is due, and where no layer leads; else the rows that were kept."""
        self.inner.now, leading = self.now, self._leading()
        if leading is not None:
            self.ids = leading
        elif self.ids is None or self._due(q):
            read = self.inner.attend(q, near)
            self.ids = heaviest(read.found, read.part.lse, self.settings.top_k)
            self.asked, self.steps = q.ravel() / np.float32(max(float(np.linalg.norm(q)), 1e-30)), 1
            return read
        self.steps += 1
        return self.inner.reread(q, near, self.ids)

    def insert(self, stop: int) -> None:
        """The next step is full."""
        self.inner.insert(stop)
        self.stop = stop
        self.anew()

    def anew(self) -> None:
        """The next step is full."""
        self.ids = None
        self.inner.anew()

    def state(self) -> dict[str, np.ndarray]:
        """The inner one's."""
        return {f"of.{name}": array for name, array in self.inner.state().items()}

    @property
    def nbytes(self) -> int:
        """Bytes beside keys and values, of all heads."""
        return self.inner.nbytes + (self.ids.nbytes if self.ids is not None else 0)

    def _due(self, q: np.ndarray) -> bool:
        if self.steps % self.settings.every:
            return False
        like = float(self.asked @ (q.ravel() / max(float(np.linalg.norm(q)), 1e-30)))
        return self.settings.below is None or like < self.settings.below

    def _leading(self) -> np.ndarray | None:
        """What the leading layer has just read, where it holds the same rows."""
        leader = self.leader() if self.leader else None
        if not isinstance(leader, RecycledSelected) or (leader.start, leader.stop) != (self.start, self.stop):
            return None
        return leader.ids


class Whole(RowsSelected):
    """All rows in a full step, and those named in another."""

    def __init__(self, settings: RecycledSelection, keys: Vectors, values: Vectors, start: int, stop: int) -> None:
        super().__init__(settings, keys, values, (start, start), "every row")
        self.reader = "full attention"
        self.blocks = Blocks(keys, values, start, size=BLOCK, estimate=True) if settings.estimate else None
        self.insert(stop)

    def choose(self, q: np.ndarray) -> Chosen:
        """All rows."""
        return self._all()

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """Exact attention to every row: nothing is left to estimate."""
        part, logits = self.exact(np.ascontiguousarray(q, np.float32), near, ids := self._all().ids)
        rows = np.full(len(q), self.stop - self.start)
        size = rows * (self.keys.head(0).row_bytes + self.values.head(0).row_bytes)
        return Read(part, rows, size, np.zeros(len(q)), found_by(ids, logits, rows, size))

    def insert(self, stop: int) -> None:
        """Nothing is kept of rows, but what stands for them."""
        if self.blocks is not None:
            self.blocks.extend(stop)
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Which rows; the rest is theirs."""
        return {"rows": np.array([self.start, self.stop], np.int64)}


def heaviest(found: Sequence[Found], lse: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of most weight of each head's, ascending, (heads, n) int32, -1 behind the last.

    `lse` (heads, queries) is that of all attention of the step; weights are summed over a head's queries.
    """
    kept = []
    for mine, whole in zip(found, lse):
        there = mine.ids >= 0
        rows, place = np.unique(mine.ids[there], return_inverse=True)
        weights = np.bincount(place, np.exp(mine.logits - whole[:, None])[there], len(rows))
        best = np.argpartition(-weights, count - 1)[:count] if count < len(rows) else slice(None)
        kept.append(np.sort(rows[best]).astype(np.int32))
    width = max(len(rows) for rows in kept)
    return np.stack([np.pad(rows, (0, width - len(rows)), constant_values=-1) for rows in kept])
