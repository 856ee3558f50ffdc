"""Questions and the times they are asked of: what the event head is trained on, made of collections by rule.

A question that names a time is asked in two ways: as it is (`dated`), and without its date but as of a moment within
it (`drifting`), several moments each. One that names none is asked as of a moment that has nothing to do with it
(`timeless`). Events are the sentences of the collection's own passages, in the same part, that name a time, of all
documents alike, or those of the other collections where it has none; one that begins after the moment of asking is
never among those looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from fovea.retrievers.event_feed import events_in
from fovea.retrievers.event_head import FEATURES, time_features
from fovea.retrievers.events import Event, vectors_of
from fovea.retrievers.time.days import DAYS_A_YEAR
from fovea.retrievers.time.fit import GAP_YEARS, LATE_YEARS, closed
from fovea.retrievers.time.parser import SPOKEN, time_parser
from fovea.retrievers.time.scan import scanner
from fovea.retrievers.time.undated import undated

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection

Kind = Literal["dated", "drifting", "timeless"]


class Spans:
    """The intervals of many passages as arrays: T, `near` and R of `fovea.retrievers.time.fit` for all at once."""

    def __init__(self, stated: Sequence[Sequence[tuple[float, float]]]) -> None:
        self.count = len(stated)
        self._owner = np.repeat(np.arange(self.count), [len(spans) for spans in stated])
        flat = [span for spans in stated for span in spans]
        self._starts, self._ends = np.array(flat, float).reshape(-1, 2).T
        self._first = np.flatnonzero(np.diff(self._owner, prepend=-1))

    def near(self, start: float, end: float) -> np.ndarray:
        """How close each passage comes to the days `start` to `end`: float32 `(passages,)`, 0 without a time."""
        gap = np.maximum(np.maximum(self._starts - end, start - self._ends), 0)
        return self._best(np.exp(-gap / DAYS_A_YEAR / GAP_YEARS))

    def fit(self, start: float, end: float) -> np.ndarray:
        """T of each passage for one asked interval: float32 `(passages,)`."""
        year = np.minimum(self._ends, self._starts + DAYS_A_YEAR)
        late = np.maximum(np.maximum(self._starts - start, start - year), 0)
        return (self.near(start, end) + self._best(np.exp(-late / DAYS_A_YEAR / LATE_YEARS))) / 2

    def recency(self, at: float, half_life: float) -> np.ndarray:
        """R of each passage: float32 `(passages,)`."""
        age = np.where(self._starts <= at, at - self._starts, np.inf)
        return self._best(2.0 ** (-age / half_life))

    def _best(self, values: np.ndarray) -> np.ndarray:
        best = np.zeros(self.count, np.float32)
        if len(values):
            best[self._owner[self._first]] = np.maximum.reduceat(values, self._first)
        return best


@dataclass
class World:
    """The passages of one part of a collection, their times, and the events that they tell of."""

    collection: Collection
    passages: np.ndarray
    """Float32 `(passages, dim)`, rows of unit length, as an index would hold them."""
    events: list[Event]
    event_vectors: np.ndarray
    told_by: np.ndarray
    """The passage that tells of each event: int `(events,)`."""
    spread: float
    documents: np.ndarray
    """A number for the document of each passage."""

    @classmethod
    def of(cls, collection: Collection, encoder: Encoder, *, situated: bool) -> World:
        """Encode passages and events."""
        from fovea.rag.corpus import SPREAD_SAMPLE, spread_of

        passages = _passages(collection, encoder, situated)
        told = [(event, row) for row, chunk in enumerate(collection.chunks) for event in events_in([chunk])]
        events = [event for event, _ in told]
        vectors = vectors_of(events, encoder) if events else np.zeros((0, encoder.dim), np.float32)
        numbers = {name: n for n, name in enumerate(dict.fromkeys(c.document_id for c in collection.chunks))}
        documents = np.array([numbers[chunk.document_id] for chunk in collection.chunks])
        sample = passages[:: max(1, -(-len(passages) // SPREAD_SAMPLE))]
        rows = np.array([row for _, row in told], int)
        return cls(collection, passages, events, vectors, rows, spread_of(sample), documents)

    @cached_property
    def spans(self) -> Spans:
        """The times of the passages."""
        scan = scanner(SPOKEN)
        return Spans([[closed(one) for one in scan.intervals(chunk.text)] for chunk in self.collection.chunks])

    @cached_property
    def starts(self) -> np.ndarray:
        """When each event began."""
        return np.array([event.start for event in self.events], float)

    @cached_property
    def ends(self) -> np.ndarray:
        """When each event ended."""
        return np.array([event.end for event in self.events], float)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of a chunk by its id."""
        return {chunk.id: row for row, chunk in enumerate(self.collection.chunks)}


def _passages(collection: Collection, encoder: Encoder, situated: bool) -> np.ndarray:
    own = encoder.encode([chunk.text for chunk in collection.chunks])
    if not situated:
        return own
    from fovea.retrievers.situators.headings import HeadingSituator

    chunks: dict[str, list[int]] = {}
    for row, chunk in enumerate(collection.chunks):
        chunks.setdefault(chunk.document_id, []).append(row)
    made, situator = own.copy(), HeadingSituator()
    for document in collection.documents:
        if rows := chunks.get(document.id):
            there = [collection.chunks[row] for row in rows]
            made[rows] = situator.vectors(document, there, own[rows], encoder)
    return made


class Asking(NamedTuple):
    """A question, the time it is asked of, the events it looks at, and what answers it."""

    kind: Kind
    world: int
    """Which world's passages are searched."""
    vector: np.ndarray
    first: float
    at: float
    """It is asked of the days `first` to `at`."""
    events: np.ndarray
    """Rows of the events looked at, best first, none begun after `at`."""
    answers: np.ndarray
    """Rows of the passages that answer."""


@dataclass
class Askings:
    """Worlds, and the questions asked in them. Events are those of all worlds, in one row."""

    worlds: list[World]
    top: int
    askings: list[Asking] = field(default_factory=list)

    @cached_property
    def events(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vectors, starts and ends of all events."""
        vectors = np.concatenate([world.event_vectors for world in self.worlds])
        starts = np.concatenate([world.starts for world in self.worlds])
        return vectors, starts, np.concatenate([world.ends for world in self.worlds])

    @cached_property
    def before(self) -> list[int]:
        """How many events the worlds before each one have."""
        return np.cumsum([0, *(len(world.events) for world in self.worlds)]).tolist()

    def seen(self, vector: np.ndarray, at: float, within: slice) -> np.ndarray:
        """The rows of the events nearest to a vector among those that had begun, at most `top`, best first."""
        vectors, starts, _ = self.events
        begun = np.flatnonzero(starts[within] <= at) + (within.start or 0)
        scores = vectors[begun] @ vector
        return begun[np.argsort(-scores, kind="stable")[: self.top]]

    def features(self, asking: Asking) -> np.ndarray:
        """tau of the events looked at, float32 `(top, 18)`, zeros behind the last."""
        _, starts, ends = self.events
        found = np.zeros((self.top, FEATURES), np.float32)
        rows = asking.events
        found[: len(rows)] = time_features(starts[rows], ends[rows], asking.first, asking.at)
        return found


def askings(worlds: Sequence[World], encoder: Encoder, *, top: int, moments: int, seed: int) -> Askings:
    """Every question of the worlds, asked in the ways that it can be; encodes the questions."""
    found, draw = Askings(list(worlds), top), np.random.default_rng(seed)
    every = slice(0, len(found.events[1]))
    starts = found.events[1]
    for number, world in enumerate(worlds):
        own = slice(found.before[number], found.before[number + 1])
        questions = world.collection.questions
        asked = encoder.encode([q.query.text for q in questions], role="query")
        bare = encoder.encode([undated(q.query.text) or q.query.text for q in questions], role="query")
        for question, vector, without in zip(questions, asked, bare):
            answers = np.array([world.rows[key] for key in question.relevant])
            intervals = time_parser(SPOKEN).read(question.query.text, question.query.as_of).intervals
            if not intervals:
                for at in draw.choice(starts, moments) if len(starts) else ():
                    rows = found.seen(vector, at, own if world.events else every)
                    found.askings.append(Asking("timeless", number, vector, at, at, rows, answers))
                continue
            first, last = closed(intervals[-1])
            rows = found.seen(vector, last + 1, own)
            found.askings.append(Asking("dated", number, vector, first, last + 1, rows, answers))
            for at in draw.uniform(first, last + 1, moments):
                rows = found.seen(without, at, own)
                found.askings.append(Asking("drifting", number, without, at, at, rows, answers))
    return found
