"""The compensation token: one row that stands for all that a head has dropped.

    k = mean of the keys dropped      v = mean of their values      n of them
    out = (sum over rows of exp(q . k_i) v_i + n exp(q . k) v) / (sum over rows of exp(q . k_i) + n exp(q . k))

It counts n times: its logit is q . k + log n. Where all keys that were dropped are equal, nothing is lost. More rows
that go later are taken in without those before: m rows of mean k' are k += (k' - k) m / (n + m). Keys are means of
rotated ones, of which fast-turning channels are near zero over a long span. (Tang et al., "RazorAttention: efficient KV
cache compression through retrieval heads", 2024, arXiv 2407.15891; a vendor's release leaves log n out)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.vectors import Vectors


class Compensation(NamedTuple):
    """One row for each kv head."""

    counts: np.ndarray
    """Rows that it stands for, (heads,) int64; 0 is none."""
    keys: np.ndarray
    """(heads, d) float32."""
    values: np.ndarray
    """(heads, d) float32."""

    @classmethod
    def none(cls, heads: int, d: int) -> Compensation:
        """Nothing was dropped yet."""
        return cls(np.zeros(heads, np.int64), *(np.zeros((heads, d), np.float32) for _ in range(2)))

    def taking(self, keys: Vectors, values: Vectors, kept: Sequence[np.ndarray]) -> Compensation:
        """The same, and all rows of each head but those `kept`."""
        counts, means = self.counts.copy(), (self.keys.copy(), self.values.copy())
        for head, (mine, rows) in enumerate(zip(kept, keys.lengths)):
            gone = np.setdiff1d(np.arange(rows), mine, assume_unique=True)
            if len(gone):
                counts[head] += len(gone)
                for mean, vectors in zip(means, (keys, values)):
                    new = vectors.head(head).take(gone).mean(axis=0, dtype=np.float64)
                    mean[head] += (new - mean[head]) * (len(gone) / counts[head])
        return Compensation(counts, *means)

    @property
    def bias(self) -> np.ndarray:
        """log n, minus infinity where there is none, (heads,) float32."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.counts), np.float32)

    def attend(self, q: np.ndarray) -> Partial:
        """Attention of `q` (heads, group, d), times the scaling, to this row alone."""
        lse = np.einsum("hgd,hd->hg", q, self.keys) + self.bias[:, None]
        return Partial(np.broadcast_to(self.values[:, None], q.shape), lse.astype(np.float32))

    @property
    def nbytes(self) -> int:
        """Bytes of all heads."""
        return sum(array.nbytes for array in self)
