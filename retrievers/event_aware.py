"""Event-aware retrieval: what a question asks for depends on when it is asked, and on what has happened by then.

    score(c) = H(c)                                                            a question without any time
             = H(c) + scope T(asked, c)                                        the question names a time
             = H(c) + share (near_weight near(as_of, c) + new_weight R(c))     it does not, but is asked then

H is the default hybrid: similarity to q' and BM25, fused by `fovea.retrievers.adaptive`, about in standard deviations;
all other terms count in deviations too. In the third case words have a quarter of their weight. q' is the question's
vector after it has looked at events that had begun by then (`fovea.retrievers.event_head`), the question's own where
there are none; T and R are those of `fovea.retrievers.time.fit`, `near` the first term of T; the share is the head's,
and 1 where the newest is asked for. So a question without a time is answered by the default hybrid
itself, and so is one over passages without.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.placed import NameOrPath
from fovea.rag.types import Hit, Query
from fovea.retrievers.adaptive import AdaptiveFuser
from fovea.retrievers.bm25 import BM25Retriever
from fovea.retrievers.calibrated import CalibratedFuser
from fovea.retrievers.learned import LearnedRetriever
from fovea.retrievers.time.days import Interval, moment
from fovea.retrievers.time.fit import closed, fit, near, recency
from fovea.retrievers.time.parser import SPOKEN
from fovea.retrievers.time.passages import DATES, PassageTimes, Spoken, passage_times

if TYPE_CHECKING:
    import numpy as np

    from fovea.retrievers.event_head import Moved
    from fovea.retrievers.events import Event, EventStore

ALARM, WATCHED = 3.0, 20
"""A mean pull of events (`fovea.retrievers.event_head`) over so many questions above which little of them is left. On
the development part of TimeQA, where events help, the shipped weights have 1.8 on average, 2.7 at most over 20 in a
row.
"""
DROWNED = f"events drown the questions: their mean pull, g |h| / |q|, is over {ALARM:g}"


CANDIDATES = 50
"""How many each list of the default pipeline has: where times say nothing, its very hits come back."""
DRIFTING = 0.25
"""What is left of the weight of words where the answer depends on the moment of asking: the same words answer at any
time. Chosen on the development parts of TimeQA and XQuAD.
"""


class Asked(NamedTuple):
    """The time of a question: the `intervals` that it names, or else the moment at which it is asked, `at`, in days."""

    intervals: tuple[Interval, ...]
    recent: bool
    first: float
    at: float


class EventAwareRetriever(LearnedRetriever, name="event_aware"):
    """The hybrid of vectors and BM25 with a sense of time; it stands alone in `retrieve`. Needs the extra `time`.

    Events are those of the query, of a feed, and of the corpus itself where that is wanted; none that begins after
    `Query.as_of` is ever looked at.

    Give `as_of` where the moment matters: `benchmarks/time_scoped.py` says what it is worth there, and what it costs
    elsewhere.
    """

    packages: ClassVar[Mapping[str, str]] = {"dateparser": "time"}
    similarity: ClassVar[bool] = False

    weights: NameOrPath = "event_aware"
    """The name of shipped weights, or the path of one's own."""
    feed: Path | None = None
    """A file of events, JSON lines with `text`, `start` and maybe `end`, `about`, `entities`, `weight`."""
    corpus_events: bool = False
    """Make events of the corpus's own sentences that name a time. They are encoded on the first question after a change
    of the corpus."""
    top_events: PositiveInt = 16
    """How many events a question looks at."""
    depth: PositiveInt = 200
    """How many chunks nearest to q', and how many that share its words, are judged by their times."""
    lexical: NonNegativeFloat = 1.0
    """What words weigh beside similarity: 1 as in the default hybrid, a quarter of that where the moment of asking
    decides; 0 searches by meaning and time alone."""
    scope: NonNegativeFloat = 4.0
    """Deviations of similarity that a perfect fit is worth, where the question names a time."""
    half_life: PositiveFloat = 1826.0
    """Days after which a passage counts as half as new."""
    languages: Spoken = SPOKEN
    """Languages of questions and passages, as the library dateparser writes them."""
    dates: tuple[str, ...] = DATES
    """Metadata of documents that hold their dates; the first one there counts, or else the day in the title."""
    looks_back: bool = False
    """Where neither says a day, take the last one that begins a line of the document before the passage ("[2023-05-08
    10:30] Ann:", "## 8 May 2023"): for logs, diaries and dialogues."""

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first, scores in deviations; raises what `vector` does. O(events + depth) beside the
        two searches.
        """
        asked = self.asked(query)
        moved = self.moved(query, corpus, asked)
        near = corpus.nearest(moved.vector, max(k, self.depth, CANDIDATES), query.where)
        depth = self.depth
        hits = self._timed(query, asked, moved, near[:depth], corpus) if asked else []
        if not hits:
            depth = CANDIDATES
            hits = self._hybrid(query, near[:depth], depth, self.lexical, corpus)
        found = {hit.chunk.id for hit in hits}
        # Times only ever add, so what lies beyond `depth` stays behind.
        beyond = [hit for hit in near[depth:] if hit.chunk.id not in found]
        floor = near[depth - 1].score if beyond else 0.0
        hits += [Hit(hit.chunk, (hit.score - floor) / corpus.spread) for hit in beyond]
        return [Hit(hit.chunk, hit.score, {self.name: hit.score}) for hit in hits[:k]]

    def _hybrid(self, query: Query, near: list[Hit], depth: int, lexical: float, corpus: Corpus) -> list[Hit]:
        """The chunks nearest to q', and `depth` that share its words, in standard deviations of similarity."""
        if not lexical:
            return CalibratedFuser().fuse({"dense": near}, depth, query, corpus)
        lists = {"dense": near, "bm25": BM25Retriever().search(query, depth, corpus)}
        plain = AdaptiveFuser()
        fuser = AdaptiveFuser(coverage=plain.coverage * lexical, weights={"dense": 1.0, "bm25": lexical})
        return fuser.fuse(lists, 2 * depth, query, corpus)

    def vector(self, query: Query, corpus: Corpus) -> np.ndarray:
        """q', float32 `(dim,)`.

        Raises ConfigError for another encoder than that of the weights, ModelError for weights that cannot be had,
        MissingExtra without the library that reads dates, DocumentError for a feed that cannot be read.
        """
        return self.moved(query, corpus, self.asked(query)).vector

    def asked(self, query: Query) -> Asked | None:
        """The time of a question; None where it has none."""
        from fovea.retrievers.time.parser import time_parser

        intervals, recent = time_parser(self.languages).read(query.text, query.as_of)
        now = moment(query.as_of) if query.as_of is not None else moment(datetime.now(UTC)) // 1
        if intervals:
            spans = [closed(one) for one in intervals]
            last = max(end for _, end in spans) + 1
            return Asked(intervals, recent, min(s for s, _ in spans), min(last, now) if query.as_of else last)
        if query.as_of is None and not recent and not query.events:
            return None
        return Asked((), recent, now, now)

    def moved(self, query: Query, corpus: Corpus, asked: Asked | None) -> Moved:
        """What the head makes of the question and of the events that had begun."""
        import numpy as np

        from fovea.retrievers import event_head

        start, arrays = self.start(query, corpus), self.for_corpus(corpus).arrays
        if asked is None:
            return event_head.Moved(start, 0.0, 0.0, 1.0)
        found = self._events(query, start, asked.at, corpus)
        starts, ends = np.array([(event.start, event.end) for event, _ in found]).reshape(-1, 2).T
        features = event_head.time_features(starts, ends, asked.first, asked.at)
        events = np.array([vector for _, vector in found], np.float32).reshape(-1, len(start))
        moved = event_head.moved(start, events, features, arrays)
        if not found:
            return moved._replace(vector=start)  # The very same, not only up to rounding.
        self._watch(moved)
        return moved

    def _timed(self, query: Query, asked: Asked, moved: Moved, near: list[Hit], corpus: Corpus) -> list[Hit]:
        """The hybrid with what their times add to their scores, best first; none where no passage tells of a time."""
        drifts = not asked.intervals and any(self._times.of(hit.chunk, corpus).stated for hit in near)
        lexical = self.lexical * DRIFTING if drifts else self.lexical
        hits = self._hybrid(query, near, self.depth, lexical, corpus)
        gains = self._gains(hits, asked, moved.moment, corpus)
        if not any(gains):
            return []
        raised = [Hit(hit.chunk, hit.score + gain) for hit, gain in zip(hits, gains)]
        return sorted(raised, key=lambda hit: -hit.score)

    def _gains(self, hits: Sequence[Hit], asked: Asked, share: float, corpus: Corpus) -> list[float]:
        """What the times of each hit add to its score, in deviations."""
        judged = self._times.of_hits(hits, corpus)
        if asked.intervals:
            return [self.scope * fit(asked.intervals, times.stated) for times in judged]
        share = 1.0 if asked.recent else share
        near_weight, new_weight = self.trained.arrays["moment"].tolist()
        return [
            share * (near_weight * _near(asked.at, times.stated)
                     + new_weight * recency(times.newest, asked.at, self.half_life))
            for times in judged
        ]  # fmt: skip

    def _events(self, query: Query, vector: np.ndarray, at: float, corpus: Corpus) -> list[tuple[Event, np.ndarray]]:
        """The query's own events, then those of the store, none of which begins after `at`."""
        from fovea.retrievers.event_feed import event_of

        given = [event_of(text, at, self.languages) for text in query.events if text.strip()]
        begun = [event for event in given if event.start <= at]
        trace.warn("events that begin after the moment of asking were not looked at", len(given) - len(begun))
        own = [(event, corpus.embed(event.text)) for event in begun[: self.top_events]]
        return own + self.store(corpus).search(vector, at, self.top_events - len(own))

    def store(self, corpus: Corpus) -> EventStore:
        """The events of the feed and of the corpus; made anew where either has changed."""
        from fovea.retrievers.event_feed import events_in, read_events
        from fovea.retrievers.events import EventStore

        changed = self.feed.stat().st_mtime_ns if self.feed and self.feed.exists() else 0
        key = (corpus.encoder.fingerprint, corpus.version if self.corpus_events else "", changed)
        with self._lock:
            if key not in self._stores:
                self._stores.clear()
                events = read_events(self.feed, languages=self.languages) if self.feed else []
                if self.corpus_events:
                    events += events_in(corpus.chunks(), self.languages)
                self._stores[key] = EventStore.of(events, corpus.encoder)
                trace.current().count(events=len(events))
            return self._stores[key]

    def _watch(self, moved: Moved) -> None:
        """Say so where events drown question after question. An open gate alone says nothing: events that do not
        matter add a short vector, or none.
        """
        trace.current().note(event_gate=round(moved.gate, 3), event_pull=round(moved.pull, 3))
        self._pulls.append(moved.pull)
        if len(self._pulls) == WATCHED and sum(self._pulls) / WATCHED > ALARM:
            trace.warn(DROWNED)

    @cached_property
    def _times(self) -> PassageTimes:
        return passage_times(self.languages, self.dates, looks_back=self.looks_back)

    @cached_property
    def _pulls(self) -> deque[float]:
        return deque(maxlen=WATCHED)

    @cached_property
    def _stores(self) -> dict[tuple[str, str, int], EventStore]:
        return {}

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()


def _near(at: float, stated: Sequence[Interval]) -> float:
    return near(at, at, [closed(one) for one in stated]) if stated else 0.0
