"""The Routing Transformer's clusters at inference: balanced, by cosine, and a query reads those it points at.

    x             = (k - m) / |k - m|     m the mean key of the first segment
    centroids     spherical k-means of the x of a segment, one for every `width` rows
    cluster c     the `width` rows of the segment of largest cosine with its centroid: every cluster is as large, and a
                  row may be in several or in none
    read          every row of the top_k / width clusters of largest cosine with the query

The architecture is trained so: queries and keys are one, normalised, centroids follow them by a moving mean while it
learns, and a query reads the rows of its own cluster. Here the model is as it is, and centroids are those of its text,
segment by segment. Its keys have a large mean, which no softmax feels and which makes all cosines alike, so it is taken
away. Rows in no cluster are never read, nor estimated but by their block. (A. Roy et al., "Efficient content-based
sparse attention with routing transformers", TACL 2021, arXiv 2003.05997)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from fovea.attention_retrieval.index.blas import one_thread
from fovea.attention_retrieval.index.kmeans import Steps, kmeans
from fovea.attention_retrieval.index.state import damaged, part, within
from fovea.attention_retrieval.selection.blocks import Blocks, best
from fovea.attention_retrieval.selection.reading import Chosen, ReadingSelection, RowsSelected
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors

SEGMENT = 4096
"""Rows that are clustered together."""
SIZE = 16
"""Rows of a block, where those that are not read are estimated."""


class RoutingSelection(ReadingSelection, name="routing"):
    """The balanced clusters that a kv head's queries point at."""

    width: Annotated[int, Field(ge=1, le=SEGMENT)] = 64
    """Rows of a cluster: of a segment that is shorter, all of them."""

    steps: Steps = 4
    """Steps of k-means."""

    @model_validator(mode="after")
    def _fits(self) -> RoutingSelection:
        if self.top_k < self.width:
            raise ValueError(f"top_k ({self.top_k}) must be at least the width ({self.width}) of a cluster")
        return self

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> RoutingSelected:
        """Clusters segment after segment. O(steps * rows * 4096 / width * d) a head; looks at no query."""
        made = self._made(keys, values, (start, start), seed)
        made.insert(stop)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> RoutingSelected:
        """Members must be rows of [start, stop)."""
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        seed = int(within(part(state, "seed", np.int64, (1,)), "seed", 0, 1 << 62)[0])
        made = self._made(keys, values, (start, stop), seed)
        centroids = part(state, "centroids", np.float32, (keys.heads, None, keys.d))
        members = part(state, "members", np.int32, (*centroids.shape[:2], self.width))
        if (within(members, "members", -1, stop) < start).all(axis=-1).any() or (
            (members < start) & (members >= 0)
        ).any():
            raise damaged(f"part 'members' names no rows from {start} on")
        made.middle = part(state, "middle", np.float32, (keys.heads, keys.d))
        made.centroids, made.members = centroids, members
        if made.blocks:
            made.blocks.restored(state, stop)
        return made

    def _made(self, keys: Vectors, values: Vectors, rows: tuple[int, int], seed: int) -> RoutingSelected:
        return RoutingSelected(self, keys, values, rows, seed)


class RoutingSelected(RowsSelected):
    """Centroids (heads, clusters, d) of length 1, and the members of each, (heads, clusters, width), -1 for none."""

    settings: RoutingSelection

    def __init__(
        self, settings: RoutingSelection, keys: Vectors, values: Vectors, rows: tuple[int, int], seed: int
    ) -> None:
        super().__init__(settings, keys, values, rows, f"clusters of {settings.width} rows by cosine")
        self.blocks = Blocks(keys, values, rows[0], size=SIZE, estimate=True) if settings.estimate else None
        self.centroids = np.zeros((keys.heads, 0, keys.d), np.float32)
        self.members, self.seed = np.zeros((keys.heads, 0, settings.width), np.int32), seed
        self.middle = np.zeros((keys.heads, keys.d), np.float32)
        """m of each head."""

    def choose(self, q: np.ndarray) -> Chosen:
        """The clusters of largest cosine; a row that is in several is read once."""
        length = np.maximum(np.linalg.norm(q, axis=-1, keepdims=True), 1e-30)
        scores = (q / length) @ self.centroids.transpose(0, 2, 1)
        clusters = best(scores, max(self.settings.top_k // self.settings.width, 1))
        rows = [np.unique(members[mine]) for members, mine in zip(self.members, clusters)]
        rows = [mine[mine >= 0] for mine in rows]
        ids = np.full((len(q), max(map(len, rows))), -1, np.int32)
        for head, mine in enumerate(rows):
            ids[head, : len(mine)] = mine
        scanned = self.centroids.shape[1]
        return Chosen(ids, scanned, 4 * self.keys.d * scanned)

    def insert(self, stop: int) -> None:
        """The new rows in segments of their own."""
        if self.blocks:
            self.blocks.extend(stop)
        made = [(self.centroids, self.members)]
        if not self.centroids.shape[1]:
            first = self.keys.block(self.start, min(self.start + SEGMENT, stop))
            self.middle = first.mean(axis=1) if first.shape[1] else self.middle
        with one_thread():
            for low in range(self.stop, stop, SEGMENT):
                heads = [self._segment(head, low, min(low + SEGMENT, stop)) for head in range(self.keys.heads)]
                centroids, members = zip(*heads)
                made.append((np.stack(centroids), np.stack(members)))
        self.centroids, self.members = (np.concatenate(each, axis=1) for each in zip(*made))
        self.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Centroids and members, and the mean key and the seed for those to come."""
        return {
            **(self.blocks.parts if self.blocks else {}),
            "centroids": self.centroids,
            "members": self.members,
            "middle": self.middle,
            "seed": np.array([self.seed], np.int64),
            "rows": np.array([self.start, self.stop], np.int64),
        }

    def _segment(self, head: int, low: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """Centroids and members of one head's rows [low, stop)."""
        rows, width = unit(self.keys.head(head).block(low, stop) - self.middle[head]), self.settings.width
        count = max(len(rows) // width, 1)
        centroids = unit(kmeans(rows, count, steps=self.settings.steps, seed=(self.seed, low), spherical=True))
        cosines, members = centroids @ rows.T, np.full((count, width), -1, np.int32)
        if len(rows) <= width:
            members[:, : len(rows)] = np.arange(low, stop)
        else:
            members[:] = low + np.argpartition(-cosines, width - 1, axis=1)[:, :width]
        return centroids, members


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1."""
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-30))
