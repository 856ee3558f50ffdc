"""Every key is scored: exact, without a build, and the time of a step grows with the text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys


class FlatEngine(Engine, name="flat"):
    """Exact top-k: one pass over the keys, each read once for all queries of the group. O(keys * d) a search."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> FlatIndex:
        """Nothing to do."""
        return FlatIndex(keys)

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> FlatIndex:
        """Nothing was kept."""
        return FlatIndex(keys)


class FlatIndex(Index):
    """The keys themselves."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best, exactly."""
        return self.keys.best(q, k)

    def insert(self, stop: int) -> None:
        """The rows are where they are."""
        self.keys.stop = stop

    def state(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}
