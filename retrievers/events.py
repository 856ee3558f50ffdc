"""Events: what happened, from when to when, and a store that never tells of what is still to come.

    store = EventStore.of(read_events(Path("feed.jsonl")), encoder)
    store.search(vector, at=moment(datetime(2020, 6, 15, 12)), k=8)      no event with start > at

Times are in days (`fovea.retrievers.time.days`), with parts of a day, in UTC. They come from
`fovea.retrievers.event_feed`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

ABOUT = 0.5
"""How much the vector of what an event is about counts beside that of its text."""


@dataclass(frozen=True, slots=True)
class Event:
    """`text` happened from `start` to `end`, in days. `about` says of whom or what, where the text may leave it out."""

    text: str
    start: float
    end: float = inf
    about: str = ""
    entities: tuple[str, ...] = ()
    weight: float = 1.0
    """An event of weight 0.5 must be twice as near to be found as one of 1."""
    source: str = ""
    """Where it was read."""


class EventStore:
    """Events and their vectors, by rising start: what has begun at a moment is the first part of it."""

    def __init__(self, dim: int) -> None:
        import numpy as np

        self._dim, self._events = dim, list[Event]()
        self._vectors, self._weights = np.zeros((0, dim), np.float32), np.zeros(0, np.float32)
        self._starts: list[float] = []

    @classmethod
    def of(cls, events: Iterable[Event], encoder: Encoder) -> EventStore:
        """Encode events, each text once: `unit(E(text) + 0.5 E(about))`."""
        store = cls(encoder.dim)
        store.add(events, encoder)
        return store

    def __len__(self) -> int:
        return len(self._events)

    def add(self, events: Iterable[Event], encoder: Encoder) -> None:
        """Encode more events and put them where they belong. O(all events)."""
        import numpy as np

        if new := list(events):
            self._put([*self._events, *new], np.concatenate([self._vectors, vectors_of(new, encoder)]))

    def expire(self, at: float) -> int:
        """Forget the events that ended before `at`, and say how many."""
        kept = [i for i, event in enumerate(self._events) if event.end >= at]
        gone = len(self._events) - len(kept)
        if gone:
            self._put([self._events[i] for i in kept], self._vectors[kept])
        return gone

    def search(self, vector: np.ndarray, at: float, k: int) -> list[tuple[Event, np.ndarray]]:
        """The `k` events of highest `weight * (vector . v)` among those with `start <= at`, best first, with their
        vectors v; equal ones by their start. O(events begun by then).
        """
        import numpy as np

        begun = bisect_right(self._starts, at)
        scores = (self._vectors[:begun] @ vector) * self._weights[:begun]
        if k < begun:
            least = np.partition(scores, begun - k)[begun - k]
            rows = np.flatnonzero(scores >= least)
        else:
            rows = np.arange(begun)
        order = rows[np.argsort(-scores[rows], kind="stable")][:k]
        return [(self._events[i], self._vectors[i]) for i in order.tolist()]

    def _put(self, events: Sequence[Event], vectors: np.ndarray) -> None:
        import numpy as np

        order = sorted(range(len(events)), key=lambda i: events[i].start)
        self._events, self._vectors = [events[i] for i in order], vectors[order]
        self._starts = [event.start for event in self._events]
        self._weights = np.array([event.weight for event in self._events], np.float32)


def vectors_of(events: Sequence[Event], encoder: Encoder) -> np.ndarray:
    """Float32 `(events, dim)`, rows of unit length."""
    import numpy as np

    texts = list(dict.fromkeys(text for event in events for text in (event.text, event.about) if text))
    read = dict(zip(texts, encoder.encode(texts))) if texts else {}
    none = np.zeros(encoder.dim, np.float32)
    sums = np.stack([read.get(e.text, none) + ABOUT * read.get(e.about, none) for e in events])
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
