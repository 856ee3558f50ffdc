"""The estimation zone: clusters stand for the tokens that a search did not return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from fovea.attention_retrieval.corrections.correction import Corrected, Correction
from fovea.attention_retrieval.index.clusters import clustered, segments
from fovea.attention_retrieval.index.engine import Found, Keys
from fovea.attention_retrieval.index.kmeans import Steps
from fovea.attention_retrieval.index.state import part
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.vectors import Rows
from fovea.rag.errors import ModelError

PARTS = ("keys", "values", "sizes", "spread", "cells", "around", "across")


SCALES = np.array([0.75, 0.75], np.float32)
"""What covariances are multiplied by where there are no queries to fit it to."""
FITTED, TYPICAL = 32, 128
"""Queries to fit it to, and rows that a search of theirs brings."""


class TailCorrection(Correction, name="tail"):
    """A cluster's tokens that were not found weigh as those of a Gaussian of the cluster's mean and spread.

        weight of one    exp(q . k_c + x)       k_c, v_c means of the cluster's keys and values
        value of one     v_c + t W q            x = s q' S q r_c / 2
                                                S covariance of keys within clusters, over the whole head
                                                W covariance of values with keys within clusters
                                                r_c how much wider the cluster is than others

    What was found is taken out of its cluster: its logits from mean and variance, its values from the mean value. With
    s = t = 0 this is RetroInfer's estimation zone (arXiv 2505.02922), which is wrong where a cluster is wide for the
    query: its tokens of large logit weigh more than its mean does, and have other values. The two covariances, one
    matrix each for a head, say how much; as clusters are not quite Gaussian, the numbers s and t are fitted to exact
    attention of 32 of the prompt's queries, and are 3/4 without. Clusters are those of RetroInfer's wave index, only
    larger, of their own over any engine; rows that are not clustered yet are attended to exactly. The estimate is
    close, not unbiased.

    With `form: taylor` the exponential is its series to the second order around each cluster's mean, as Based's feature
    map has it around zero (S. Arora et al., arXiv 2402.18668, 2024): exp(q . k_c) (1 + x) in place of exp(q . k_c + x),
    and of the value only v_c gets the x. Both forms hold the same moments, and differ by x^2 / 2 and beyond. With
    delta = q . (k - k_c), the series is wrong by at most sum(|delta|^3 exp(max(delta, 0))) / 6 of a cluster's weight
    in units of exp(q . k_c): it wants narrow clusters, where the Gaussian's sum of all orders is no dearer.
    """

    needs_queries = True

    form: Literal["gaussian", "taylor"] = "gaussian"
    """What is made of the moments: the exponential of a Gaussian, or Based's series to the second order."""

    size: PositiveInt = 64
    """Keys a cluster, on average: a step reads two vectors for so many tokens."""
    steps: Steps = 4
    """Steps of k-means."""

    def over(self, keys: Keys, values: Rows, queries: np.ndarray | None = None, *, seed: int = 0) -> TailCorrected:
        """Clusters segment after segment. O(steps * rows * 8192 / size * d + rows * d^2)."""
        d = keys.rows.d
        table, line, square = np.zeros((0, d), np.float32), np.zeros(0, np.float32), np.zeros((d, d))
        parts = (table, table, line, line, np.zeros(0, np.int32), square, square)
        state: dict[str, np.ndarray] = {**dict(zip(PARTS, parts)), "scales": SCALES, "seed": np.array([seed])}
        made = TailCorrected(self, Keys(keys.rows, keys.start, keys.start), values, state)
        made.insert(keys)
        if queries is not None and len(queries) and len(made.parts["sizes"]):
            late = queries[-len(queries) // 4 :]
            made.fit(np.ascontiguousarray(late[:: -(-len(late) // FITTED)], np.float32))
        return made

    def restore(self, keys: Keys, values: Rows, state: Mapping[str, np.ndarray]) -> TailCorrected:
        """Raises ModelError where the state is not one of these rows."""
        d, sizes, cells = (
            keys.rows.d,
            part(state, "sizes", np.float32, (None,)),
            part(state, "cells", np.int32, (None,)),
        )
        count, small, large = len(sizes), np.float32, np.float64
        parts = {
            "sizes": sizes, "cells": cells, "keys": part(state, "keys", small, (count, d)),
            "values": part(state, "values", small, (count, d)), "spread": part(state, "spread", small, (count,)),
            "around": part(state, "around", large, (d, d)), "across": part(state, "across", large, (d, d)),
            "scales": part(state, "scales", small, (2,)), "seed": part(state, "seed", np.int64, (1,)),
        }  # fmt: skip
        fits = len(cells) <= len(keys)
        if not fits or (len(cells) and not 0 <= cells.min() <= cells.max() < count):
            raise ModelError(
                f"the state of the correction tail does not fit its {len(keys)} keys of {d} numbers",
                fix="read the text anew",
            )
        return TailCorrected(self, Keys(keys.rows, keys.start, keys.stop), values, parts)


class TailCorrected(Corrected):
    """Clusters over the rows from the first on, the two covariances as sums over rows, and what scales them."""

    def __init__(self, settings: TailCorrection, keys: Keys, values: Rows, state: Mapping[str, np.ndarray]) -> None:
        self.settings, self.keys, self.values = settings, keys, values
        self.parts = {name: np.asarray(state[name]) for name in PARTS}
        self.scales, self.seed = state["scales"], int(state["seed"][0])
        self._ready()

    def attend(self, q: np.ndarray, found: Found) -> Partial:
        """Found rows and the rest of every cluster; and rows that are in none."""
        from fovea.attention_retrieval.kernels.attend import attend_scanned, scan_logits
        from fovea.attention_retrieval.kernels.tail import attend_rest

        ids, logits = found.ids, found.logits
        end = self.keys.start + len(self.parts["cells"])
        if end < self.keys.stop:
            scanned = ids >= end
            ids, logits = np.where(scanned, np.int32(-1), ids), np.where(scanned, np.float32(-np.inf), logits)
        variances = self.scales[0] * ((q @ self.around) * q).sum(axis=1)
        lean = self.scales[1] * (q @ self.across.T)
        part = Partial(*attend_rest(self.values.stored, self.clusters, q, variances, lean, ids, logits))
        if end == self.keys.stop:
            return part
        near = scan_logits(self.keys.rows.stored, q, end, self.keys.stop)
        return merge(part, Partial(*attend_scanned(self.values.stored, end, near)))

    def insert(self, keys: Keys) -> None:
        """Cluster the new segments that are long enough."""
        parts = dict(self.parts)
        for low, high in segments(self.keys.start + len(parts["cells"]), keys.stop):
            new = self._segment(low, high)
            new["cells"] = new["cells"] + np.int32(len(parts["sizes"]))
            for name in PARTS[:5]:
                parts[name] = np.concatenate([parts[name], new[name]])
            for name in PARTS[5:]:
                parts[name] = parts[name] + new[name]
        self.parts, self.keys = parts, Keys(keys.rows, keys.start, keys.stop)
        self._ready()

    def state(self) -> dict[str, np.ndarray]:
        """Clusters, covariances, their scales, and the seed for clusters to come."""
        return {**self.parts, "scales": self.scales, "seed": np.array([self.seed])}

    def fit(self, queries: np.ndarray) -> None:
        """Choose the scales for which the output of `queries` (n, d) is nearest to exact attention over the rows.

        The output is linear in the second scale, so that is solved for under each of a few values of the first. The
        error counts relative to the exact output, and outputs of all queries alike.
        """
        from fovea.attention_retrieval.kernels.attend import attend_scanned, scan_logits

        every = scan_logits(self.keys.rows.stored, queries, self.keys.start, self.keys.stop)
        exact = attend_scanned(self.values.stored, self.keys.start, every)[0]
        norm = np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
        found, best = self.keys.best(queries, TYPICAL), np.inf
        for s in (0, 0.25, 0.5, 0.75, 1):
            outs = []
            for whole in (0, 1):
                self.scales = np.array([s, whole], np.float32)
                outs.append((self.attend(queries, found).out - exact) / norm)
            slope = outs[1] - outs[0]
            t = float(np.clip(-(slope * outs[0]).sum() / max((slope**2).sum(), 1e-12), 0, 1.5))
            error = float(np.linalg.norm(outs[0] + t * slope, axis=1).mean())
            if error < best:
                best, chosen = error, np.array([s, t], np.float32)
        self.scales = chosen

    def _segment(self, low: int, high: int) -> dict[str, np.ndarray]:
        """The parts that rows [low, high) add."""
        from fovea.attention_retrieval.kernels.lists import sums

        means, cells = clustered(
            Keys(self.keys.rows, low, high), low, high, self.settings.size, self.settings.steps, self.seed
        )
        values = self.values.block(low, high)
        total, sizes = sums(values, cells, len(means))
        middle = total / sizes[:, None]
        off, other = self.keys.rows.block(low, high) - means[cells], values - middle[cells]
        spread = np.bincount(cells, np.square(off).sum(axis=1), len(means)).astype(np.float32) / sizes
        around, across = (off.T @ off).astype(np.float64), (other.T @ off).astype(np.float64)
        return dict(zip(PARTS, (means, middle, sizes, spread, cells, around, across)))

    def _ready(self) -> None:
        """What a search uses of the parts."""
        from fovea.attention_retrieval.kernels.tail import Clusters

        parts, rows = self.parts, max(len(self.parts["cells"]), 1)
        self.around, self.across = ((parts[name] / rows).astype(np.float32) for name in ("around", "across"))
        average = max(float(np.trace(self.around)), 1e-30)
        wider = parts["spread"] / np.float32(average)
        means, taylor = (parts["keys"], parts["values"]), self.settings.form == "taylor"
        self.clusters = Clusters(self.keys.start, parts["cells"], parts["sizes"], *means, wider, taylor)
        loose = len(self.keys) - len(parts["cells"])
        self.scanned = 2 * (len(parts["sizes"]) + loose)
        self.bytes = parts["keys"].nbytes * 2 + loose * (self.keys.rows.row_bytes + self.values.row_bytes)
