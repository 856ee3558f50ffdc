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
from fovea.attention_retrieval.index.kmeans import Steps, kmeans, nearest
from fovea.attention_retrieval.index.state import damaged, part, within
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.rounding import encode, to_bf16
from fovea.attention_retrieval.selection.selection import Queries, Read, Selected, Selection
from fovea.attention_retrieval.vectors import Rows, Vectors

SEGMENT = 1024
"""Rows that are clustered together: keys near in the text are near in space, and time is in proportion to this."""
GAUSSIAN = 0.75
"""s: clusters have thinner tails than a Gaussian's."""


class WaveSelection(Selection, name="wave"):
    """Clusters of about `size` rows; a token reads until `rest` of its attention is left to estimates."""

    size: PositiveInt = 8
    """Rows a cluster, on average: each costs a mean key and a mean value, of 8 bits a number."""

    rest: Annotated[float, Field(ge=0, le=1)] = 0.02
    """The share of a token's attention that may be estimated; with 0 every row is read, up to `most`."""

    most: PositiveInt = 1024
    """Rows that a query reads at most, whatever is left then: a head that looks everywhere is estimated well."""

    steps: Steps = 3
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
        return WaveSelected(self, keys, values, restored(state, keys.heads, keys.d, start, stop), start, stop, seed)


class Clustered(NamedTuple):
    """One head's clusters, those of a segment behind those of the one before; means are codes of 8 bits."""

    rows: np.ndarray
    """Rows of each segment, (segments,) int64."""
    clusters: np.ndarray
    """Clusters of each segment, (segments,) int64."""
    key_scales: np.ndarray
    """(low, scale) of a channel of a segment's mean keys, bf16, (segments, 2, d)."""
    keys: np.ndarray
    """Mean keys, (clusters, d) uint8."""
    values: np.ndarray
    """Mean values, likewise."""
    value_scales: np.ndarray
    """(low, scale) of a mean value, bf16, (clusters, 2)."""
    spread: np.ndarray
    """Mean square distance of a cluster's keys from its mean, bf16, (clusters,)."""
    sizes: np.ndarray
    """Rows of each cluster, (clusters,) uint16."""
    members: np.ndarray
    """Rows, cluster by cluster, as places in their segment, (rows,) uint16."""
    around: np.ndarray
    """Sum over rows of (k - k_c)(k - k_c)', the upper triangle row by row, (d (d + 1) / 2,) float32."""

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
        spread = to_bf16((np.bincount(cells, np.square(off).sum(axis=1), len(sizes)) / sizes).astype(np.float32))
        whole, (codes, key_scales) = (off.T @ off).astype(np.float32), encode(means, 8, -2)
        return cls(
            np.array([len(block)]), np.array([len(sizes)]), key_scales[None], codes, *encode(middle, 8, -1),
            spread, sizes.astype(np.uint16), order.astype(np.uint16), whole[np.triu_indices(rows.d)],
        )  # fmt: skip

    @classmethod
    def none(cls, d: int) -> Clustered:
        """No rows yet."""
        codes, count, half = np.zeros((0, d), np.uint8), np.zeros(0, np.int64), np.uint16
        return cls(
            count, count, np.zeros((0, 2, d), half), codes, codes, np.zeros((0, 2), half), np.zeros(0, half),
            np.zeros(0, half), np.zeros(0, half), np.zeros(d * (d + 1) // 2, np.float32),
        )  # fmt: skip

    def and_(self, more: Clustered) -> Clustered:
        """These clusters and those of later rows."""
        both = [np.concatenate(pair) for pair in zip(self[:9], more[:9])]
        return Clustered._make([*both, self.around + more.around])


def restored(state: Mapping[str, np.ndarray], heads: int, d: int, start: int, stop: int) -> list[Clustered]:
    """Each head's clusters. Raises StoreError where the arrays do not divide the rows [start, stop)."""
    rows = within(part(state, "rows", np.int64, (None,)), "rows", 1, SEGMENT + 1)
    clusters = within(part(state, "clusters", np.int64, (heads, len(rows))), "clusters", 1, SEGMENT + 1)
    if rows.sum() != stop - start:
        raise damaged(f"part 'rows' does not divide {stop - start} rows")
    count, half = int(clusters.sum()), np.uint16
    sizes = within(part(state, "sizes", half, (count,)), "sizes", 1, SEGMENT + 1)
    members = part(state, "members", half, (heads, stop - start))
    scales = part(state, "key_scales", half, (heads, len(rows), 2, d))
    value_scales, spread = part(state, "value_scales", half, (count, 2)), part(state, "spread", half, (count,))
    for name, each in (("key_scales", scales), ("value_scales", value_scales), ("spread", spread)):
        if ((each & 0x7F80) == 0x7F80).any():
            raise damaged(f"part {name!r} holds numbers that are not finite")
    segment = np.repeat(np.arange(clusters.size), clusters.reshape(-1))
    if (np.bincount(segment, sizes, clusters.size).reshape(clusters.shape) != rows).any():
        raise damaged("part 'sizes' does not divide the rows of each segment")
    for low, high in zip(np.cumsum(rows) - rows, np.cumsum(rows)):
        if (np.sort(members[:, low:high], axis=1) != np.arange(high - low)).any():
            raise damaged("part 'members' does not name every row of a segment once")
    keys, values = (part(state, which, np.uint8, (count, d)) for which in ("keys", "values"))
    around, ends = part(state, "around", np.float32, (heads, d * (d + 1) // 2)), np.cumsum(clusters.sum(axis=1))[:-1]
    by_head = zip(*(np.split(each, ends) for each in (keys, values, value_scales, spread, sizes)))
    return [
        Clustered._make([rows, clusters[n], scales[n], *each, members[n], around[n]]) for n, each in enumerate(by_head)
    ]


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
        return Read(Partial(out, lse), rows + counts, rows * self._row_bytes + counts * 2 * self.keys.d)

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
        waves, heads = self.waves, len(self.heads)
        return {
            "rows": self.heads[0].rows,
            "clusters": np.stack([head.clusters for head in self.heads]),
            "key_scales": waves.key_scales.reshape(heads, -1, *waves.key_scales.shape[1:]),
            "sizes": np.concatenate([head.sizes for head in self.heads]),
            **{name: getattr(waves, name) for name in ("keys", "values", "value_scales", "spread", "around")},
            "members": waves.members.reshape(heads, -1),
            "seed": np.array([self.seed], np.int64),
        }

    @property
    def nbytes(self) -> int:
        """Bytes beside keys and values, of all heads."""
        return sum(array.nbytes for array in self.waves)

    def _take(self, heads: Sequence[Clustered], stop: int) -> None:
        from fovea.attention_retrieval.kernels.wave import Waves

        d, side_by_side = self.keys.d, [np.concatenate([head[n] for head in heads]) for n in range(1, 9)]
        first, ends = (np.cumsum([0, *each]) for each in zip(*((len(h.keys), len(h.rows)) for h in heads)))
        clusters, key_scales, keys, values, value_scales, spread, sizes, members = side_by_side
        lows = np.concatenate([self.start + np.cumsum(head.rows) - head.rows for head in heads])
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        around = np.stack([head.around for head in heads])
        diagonal = np.cumsum([0, *range(d, 1, -1)])
        factor = GAUSSIAN / np.maximum(around[:, diagonal].sum(axis=1), 1e-30)
        self.waves = Waves(
            first, ends, clusters, key_scales, starts, np.repeat(lows, clusters).astype(np.int32), members,
            keys, values, value_scales, spread, around, factor.astype(np.float32),
        )  # fmt: skip
        self.stop, self.heads = stop, []
        for n, head in enumerate(heads):
            mine, taken = slice(first[n], first[n + 1]), slice(starts[first[n]], starts[first[n + 1]])
            shared = [each[mine] for each in (keys, values, value_scales, spread, sizes)]
            scales = key_scales[ends[n] : ends[n + 1]]
            own = [head.rows, head.clusters, scales, *shared, members[taken], around[n]]
            self.heads.append(Clustered._make(own))
