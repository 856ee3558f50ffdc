"""Several engines at once: what any of them finds.

An engine that learns from the prompt's queries finds what such queries want, and an engine over the keys finds the key
that a query is most like, though none before wanted it: a needle. Together they find both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field, SerializeAsAny

from fovea.attention_retrieval.index.engine import Engine, Found, Index, Keys
from fovea.attention_retrieval.index.state import under


class JoinedEngine(Engine, name="joined"):
    """The k best of what its `engines` bring, each of them asked for k; costs are their sums."""

    needs_queries = True

    engines: tuple[SerializeAsAny[Engine], ...] = Field(
        default_factory=lambda: tuple(Engine.model_validate({"use": name}) for name in ("query_ivf", "ivf")),
        min_length=1,
    )
    """Each with its own settings."""

    def build(self, keys: Keys, queries: np.ndarray | None, *, seed: int = 0) -> JoinedIndex:
        """An index by each engine, over the same rows."""
        parts = [
            engine.build(_own(keys), queries if engine.needs_queries else None, seed=seed) for engine in self.engines
        ]
        return JoinedIndex(keys, parts)

    def restore(self, keys: Keys, state: Mapping[str, np.ndarray]) -> JoinedIndex:
        """Each engine's from its part of the state."""
        parts = [engine.restore(_own(keys), under(f"{n}.", state)) for n, engine in enumerate(self.engines)]
        return JoinedIndex(keys, parts)


class JoinedIndex(Index):
    """The indexes in order."""

    def __init__(self, keys: Keys, parts: Sequence[Index]) -> None:
        self.keys, self.parts = keys, parts

    def search(self, q: np.ndarray, k: int) -> Found:
        """The k best, each once."""
        found = [part.search(q, k) for part in self.parts]
        ids, logits = np.concatenate([f.ids for f in found], axis=1), np.concatenate([f.logits for f in found], axis=1)
        order = np.argsort(ids, axis=1, kind="stable")
        again = np.zeros(ids.shape, bool)
        by_id = np.take_along_axis(ids, order, axis=1)
        np.put_along_axis(again, order[:, 1:], by_id[:, 1:] == by_id[:, :-1], axis=1)
        logits = np.where(again, np.float32(-np.inf), logits)
        best = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        logits = np.take_along_axis(logits, best, axis=1)
        ids = np.where(np.isneginf(logits), np.int32(-1), np.take_along_axis(ids, best, axis=1))
        return Found(ids, logits, sum(f.scanned for f in found), sum(f.bytes for f in found))

    def insert(self, stop: int) -> None:
        """Into each, one after the other."""
        for part in self.parts:
            part.keys.bias = self.keys.bias
            part.insert(stop)
        self.keys.stop = stop

    def repair(self, q: np.ndarray, exact: np.ndarray) -> None:
        """Each learns."""
        for part in self.parts:
            part.repair(q, exact)

    def state(self) -> dict[str, np.ndarray]:
        """The parts' arrays, numbered."""
        return {f"{n}.{name}": array for n, part in enumerate(self.parts) for name, array in part.state().items()}


def _own(keys: Keys) -> Keys:
    """Every index moves the end of its keys itself."""
    return Keys(keys.rows, keys.start, keys.stop, keys.bias)
