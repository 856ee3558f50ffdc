"""RetroInfer's wave index: small clusters, of which a token reads the heaviest, and estimates the others.

    weight of a row of cluster c    exp(q . k_c + s q' S q r_c / 2)    k_c, v_c its mean key and mean value
    its value                       v_c                                S covariance of keys within the head's clusters
                                                                       r_c how much wider than those c is

A token reads clusters, the heaviest first, until those left have at most `rest` of all its attention, what is near
counted: so a head that looks at few rows reads few, and one that spreads its attention is estimated. Clusters are made
inside segments, as the text comes. RetroInfer (Y. Chen et al., arXiv 2505.02922) reads a fixed share of the clusters
and estimates with s = 0; the second moment costs one small matrix a head.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field, PositiveInt

from fovea.attention_retrieval.index.blas import one_thread
from fovea.attention_retrieval.index.kmeans import kmeans, nearest
from fovea.attention_retrieval.index.state import damaged, part, under, within
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Rows, Vectors, to_bf16

SEGMENT = 1024
"""Rows that are clustered together: keys near in the text are near in space, and time is in proportion to this."""
GAUSSIAN = 0.75
"""s: clusters have thinner tails than a Gaussian's."""


class WaveSelection(Selection, name="wave"):
    """Clusters of about `size` rows; a token reads until `rest` of its attention is left to estimates."""

    size: PositiveInt = 8
    """Rows a cluster, on average: each costs a mean key and a mean value, in bf16."""

    rest: Annotated[float, Field(ge=0, le=1)] = 0.02
    """The share of a token's attention that may be estimated; with 0 every row is read, up to `most`."""

    most: PositiveInt = 1024
    """Rows that a query reads at most, whatever is left then: a head that looks everywhere is estimated well."""

    steps: PositiveInt = 3
    """Steps of k-means."""

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> WaveSelected:
        """Clusters segment after segment. O(steps * rows * 1024 / size * d + rows * d^2) a head; looks at no query."""
        made = WaveSelected(self, keys, values, [Clustered.none(keys.d) for _ in range(keys.heads)], start, start, seed)
        made.insert(stop)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> WaveSelected:
        """Every row of [start, stop) must be in one cluster."""
        seed = int(within(part(state, "seed", np.int64, (1,)), "seed", 0, 1 << 62)[0])
        heads = [Clustered.restored(under(f"{n}.", state), keys.d, start, stop) for n in range(keys.heads)]
        return WaveSelected(self, keys, values, heads, start, stop, seed)


class Clustered(NamedTuple):
    """One head's clusters."""

    starts: np.ndarray
    """Rows of cluster c are members[starts[c] : starts[c + 1]], (clusters + 1,) int64."""
    members: np.ndarray
    """Row numbers, (rows,) int32."""
    keys: np.ndarray
    """Mean keys, bf16 codes, (clusters, d)."""
    values: np.ndarray
    """Mean values, likewise."""
    spread: np.ndarray
    """Mean square distance of a cluster's keys from its mean, (clusters,) float32."""
    around: np.ndarray
    """Sum over rows of (k - k_c)(k - k_c)', (d, d) float64."""

    @classmethod
    def none(cls, d: int) -> Clustered:
        """No rows yet."""
        table = np.zeros((0, d), np.uint16)
        return cls(
            np.zeros(1, np.int64), np.zeros(0, np.int32), table, table, np.zeros(0, np.float32), np.zeros((d, d))
        )

    @classmethod
    def of(cls, rows: Rows, values: Rows, low: int, high: int, size: int, steps: int, seed: int) -> Clustered:
        """Clusters of the segment [low, high): spherical k-means of its keys around their mean."""
        from fovea.attention_retrieval.kernels.lists import sums

        block = rows.block(low, high)
        centred = block - block.mean(axis=0)
        count = max(1, len(block) // size)
        cells = nearest(centred, kmeans(centred, count, steps=steps, seed=(seed, low), spherical=True), spherical=True)
        order, filled = np.argsort(cells, kind="stable"), np.bincount(cells, minlength=count) > 0
        cells = (np.cumsum(filled, dtype=np.int32) - 1)[cells]
        total, sizes = sums(block, cells, int(filled.sum()))
        means, middle = total / sizes[:, None], sums(values.block(low, high), cells, len(sizes))[0] / sizes[:, None]
        off = block - means[cells]
        spread = (np.bincount(cells, np.square(off).sum(axis=1), len(sizes)) / sizes).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        members = (order + low).astype(np.int32)
        return cls(starts, members, to_bf16(means), to_bf16(middle), spread, (off.T @ off).astype(np.float64))

    @classmethod
    def restored(cls, state: Mapping[str, np.ndarray], d: int, start: int, stop: int) -> Clustered:
        """Raises StoreError where the arrays do not divide the rows [start, stop)."""
        starts = part(state, "starts", np.int64, (None,))
        count, rows = len(starts) - 1, stop - start
        members = within(part(state, "members", np.int32, (rows,)), "members", start, stop)
        if count < 0 or starts[0] != 0 or starts[-1] != rows or (np.diff(starts) < 1).any():
            raise damaged(f"part 'starts' does not divide {rows} rows")
        if len(np.unique(members)) != rows:
            raise damaged("part 'members' names a row twice")
        keys, values = (part(state, which, np.uint16, (count, d)) for which in ("keys", "values"))
        if ((np.concatenate([keys, values]) & 0x7F80) == 0x7F80).any():
            raise damaged("part 'keys' or 'values' holds numbers that are not finite")
        around = part(state, "around", np.float64, (d, d))
        return cls(starts, members, keys, values, part(state, "spread", np.float32, (count,)), around)

    def and_(self, more: Clustered) -> Clustered:
        """These clusters and those of later rows."""
        starts = np.concatenate([self.starts, self.starts[-1] + more.starts[1:]])
        members, keys, values, spread = (np.concatenate(pair) for pair in zip(self[1:5], more[1:5]))
        return Clustered(starts, members, keys, values, spread, self.around + more.around)


class WaveSelected(Selected):
    """All heads' clusters, side by side for the kernel; each head's are views of that."""

    def __init__(
        self,
        settings: WaveSelection,
        keys: Vectors,
        values: Vectors,
        heads: Sequence[Clustered],
        start: int,
        stop: int,
        seed: int,
    ) -> None:
        self.settings, self.keys, self.values, self.seed = settings, keys, values, seed
        self.reader, self.why = settings.name, "clusters of the text, the heaviest read row by row"
        self.start, self._row_bytes = start, keys.head(0).row_bytes + values.head(0).row_bytes
        self._take(heads, stop)

    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """The heaviest clusters of each query row by row, for the whole group of a head, and the others as one each."""
        from fovea.attention_retrieval.kernels.wave import attend_waves

        rest, most = self.settings.rest, self.settings.most
        out, lse, rows = attend_waves(self.keys.table, self.values.table, self.waves, q, near, rest, most)
        counts = np.diff(self.waves.first)
        return Read(Partial(out, lse), rows + counts, rows * self._row_bytes + counts * 4 * self.keys.d)

    def insert(self, stop: int) -> None:
        """Cluster the new rows, in segments of 1,024; the last may be shorter."""
        heads, settings = list(self.heads), self.settings
        with one_thread():
            for n in range(len(heads)):
                rows, values = self.keys.head(n), self.values.head(n)
                for low in range(self.stop, stop, SEGMENT):
                    high = min(low + SEGMENT, stop)
                    new = Clustered.of(rows, values, low, high, settings.size, settings.steps, self.seed)
                    heads[n] = heads[n].and_(new)
        self._take(heads, stop)

    def state(self) -> dict[str, np.ndarray]:
        """Every head's clusters, and the seed for those to come."""
        arrays = {f"{n}.{name}": array for n, head in enumerate(self.heads) for name, array in head._asdict().items()}
        return {**arrays, "seed": np.array([self.seed], np.int64)}

    def _take(self, heads: Sequence[Clustered], stop: int) -> None:
        from fovea.attention_retrieval.kernels.wave import Waves

        self.stop, first = stop, np.cumsum([0, *(len(head.spread) for head in heads)]).astype(np.int64)
        wide = [max(float(np.trace(head.around)), 1e-30) for head in heads]
        members, keys, values, spread = (np.concatenate([head[n] for head in heads]) for n in range(1, 5))
        starts = np.cumsum([0, *(np.concatenate([np.diff(head.starts) for head in heads]))]).astype(np.int64)
        around = np.stack([GAUSSIAN / 2 * head.around / w for head, w in zip(heads, wide)]).astype(np.float32)
        self.waves = Waves(first, starts, members, keys, values, spread, around)
        self.heads = []
        for n, head in enumerate(heads):
            mine, taken = slice(first[n], first[n + 1]), slice(starts[first[n]], starts[first[n + 1]])
            self.heads.append(
                Clustered(head.starts, members[taken], keys[mine], values[mine], spread[mine], head.around)
            )
