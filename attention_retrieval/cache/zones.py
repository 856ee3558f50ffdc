"""Zones of a layer's rows: which are read as they are, which by the selection; what is dropped or made, and when.

    static    [0, sinks) and the last `window` rows
    indexed   [sinks, indexed)
    pending   between `indexed` and the window: no longer in the window, not yet taken in by the selection

Row numbers tell them apart. Rows are tokens, in order, but for those that were dropped: by an eviction, or by a head
that streams, when they have left its window. The zones are of the heads that read the whole text, or hold most of it;
others read all that they hold.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fovea.attention_retrieval.cache.held import Held
from fovea.attention_retrieval.cache.queries import QuerySample
from fovea.attention_retrieval.cache.report import HeadStats
from fovea.attention_retrieval.eviction.eviction import Shares
from fovea.attention_retrieval.ragged import some
from fovea.attention_retrieval.selection.selection import Queries, Selected
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import Vectors

ANSWER = 4096
"""Tokens of an answer that heads which stream hold, so that it can be cropped off, before they drop any."""


class Zones(Held):
    """Rows are appended by `append`; `evict` and `advance` move the zones."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        self.settings, self.layer = settings, layer
        self.selection = settings.selection and settings.selection.in_layer(layer)
        self.clear(heads, d, settings.dtype)
        self.sample, self.group = QuerySample(settings.queries), 0
        self.last: np.ndarray | None = None
        """The last queries of a prompt that an eviction or a policy of heads will look at, (query heads, n, d); None
        where nothing waits for them."""
        self.read = 0
        """Tokens up to the last of these."""
        self.earlier: tuple[int, np.ndarray | None] = (0, None)
        """`last` as it was before the prompt's last piece, and the token that this began at: what `crop` goes back
        to where that piece was interrupted."""
        self.indexed, self.built = settings.sinks, False
        self.selected: Selected | None = None
        self.windows: np.ndarray | None = None
        """How far each head looks, (heads,), and 0 where it reads the whole text; None where all do, or do not yet."""
        self.mid_text: dict[int, np.ndarray] | None = None
        """By query head, the sinks in mid-text that are taken down; None where a prompt has come since."""
        self.why = f"up to {settings.dense_below:,} tokens every key is read"
        self.stats = [HeadStats(layer, head) for head in range(heads)]

    @property
    def moves(self) -> bool:
        """Whether keys are read at other places than the text's."""
        return self.selection is not None and self.selection.moves

    @property
    def alone(self) -> bool:
        """Whether all attention is computed here, wherever the model is: keys move, or sinks are taken down."""
        return self.moves or self.settings.calming is not None

    def learn(self, queries: np.ndarray, start: int) -> None:
        """Keep some of a prompt's queries, (query heads, tokens, d) times the scaling, from token `start` on.

        Those that the selection learns from, and the last ones, for an eviction or a policy of heads.
        """
        self.mid_text = None
        if self.selected is not None:
            self.selected.anew()
        if not self.group:
            self.grouped(len(queries) // self.keys.heads)
        if (self.selection and self.selection.needs_queries) or self.calms:
            self.sample.add(queries, start)
        if (count := self.settings.last_queries) is not None:
            before = () if self.last is None else (self.last,)
            last = np.concatenate([*before, queries[:, max(queries.shape[1] - count, 0) :]], axis=1)
            self.earlier, self.last = (start, self.last), last[:, max(last.shape[1] - count, 0) :]
        self.read = start + queries.shape[1]

    def grouped(self, group: int) -> None:
        """Be told how many query heads share a kv head: their queries share what may be kept."""
        self.group, self.sample = group, QuerySample(max(self.settings.queries // group, 1))

    @property
    def calms(self) -> list[int]:
        """The query heads whose attention to sinks in mid-text is taken down."""
        return self.settings.calming.of(self.layer) if self.settings.calming else []

    def evict(self) -> bool:
        """Drop what the settings drop of a prompt that was read since the last call, or of an answer where the policy
        does so; True if rows have gone.

        Where it is interrupted, nothing has gone yet, and the next call does it.
        """
        policy = self.settings.evict
        if not policy or (self.last is None and not (policy.again and self._due())):
            return False
        asked = self._last(policy.queries)
        kept = policy.kept(self.keys, self.values, asked, self._budgets())
        gone = kept is not None and any(len(mine) < rows for mine, rows in zip(kept, self.keys.lengths))
        if kept is not None and gone:
            self.drop(kept, policy.compensates)
            self._forget()
        self.last, self.earlier = None, (0, None)
        return gone

    def _due(self) -> bool:
        """Whether it is time to look again at what a growing answer holds."""
        return self.tokens % self.settings.insert_every == 0

    def _budgets(self) -> np.ndarray | None:
        """The rows that each head may keep; None where the eviction says it by itself."""
        policy, heads = self.settings.evict, self.settings.heads
        if not policy or not heads:
            return None
        here, tokens = (self.layer, self.keys.heads), self.tokens
        windows = np.minimum(heads.windows(*here, tokens), tokens)
        return policy.budgets(Shares(tokens, windows, lambda total: heads.budgets(*here, total, tokens)))

    def _last(self, count: int) -> np.ndarray | None:
        """The last queries, (kv heads, group, n, d); None where none are asked for or known."""
        if not count or self.last is None:
            return None
        return self.last.reshape(self.keys.heads, self.group, *self.last.shape[1:])

    def advance(self) -> bool:
        """Let the selection be made, or take the pending rows in, where it is time; True if a zone has moved."""
        dynamic, streamed = len(self) - self.settings.window, self._streamed()
        if self.selection is None:
            return self._slide(dynamic)
        if not self.built:
            if len(self) <= self.settings.dense_below or dynamic <= self.settings.sinks:
                return False
            self._build(dynamic)
            return True
        if self.selected is None or dynamic - self.indexed < self.settings.insert_every:
            return streamed
        self._insert(dynamic)
        return True

    def reading(self) -> slice | np.ndarray:
        """The heads that read the whole text, or hold most of it."""
        if self.windows is not None:
            return np.flatnonzero(self.windows == 0)
        return slice(None) if len(self.keys.parts) == 1 else np.flatnonzero(self.keys.lengths == len(self))

    def queries(self, head: int) -> np.ndarray | None:
        """The prompt's queries of a kv head's group, (n, d), times the scaling, those that were kept."""
        return self.sample.group(head, self.group)

    def asked_at(self, head: int) -> np.ndarray:
        """The row of a kv head that each token of `queries` stands at, or the last before it that was kept."""
        if self.evicted is None:
            return self.sample.positions
        return np.searchsorted(self.evicted.positions(head, self.tokens), self.sample.positions, side="right") - 1

    def of_heads(self, heads: np.ndarray) -> tuple[Vectors, Vectors]:
        """Keys and values of some heads, all of them as they are."""
        if len(heads) == self.keys.heads:
            return self.keys, self.values
        return some(self.keys, heads), some(self.values, heads)

    def _slide(self, stop: int) -> bool:
        """Nothing is searched for, so what has left the window is never read again."""
        moved = len(self) > self.settings.dense_below and stop > self.indexed
        if moved:
            self.indexed, self.why = stop, "only sinks and window are read"
        return moved

    def _forget(self) -> None:
        self.selected, self.windows, self.built, self.indexed = None, None, False, self.settings.sinks

    def _build(self, stop: int) -> None:
        """The state of the selection for the heads that read the whole text, or, if it is interrupted, none."""
        assert self.selection
        began, seed = time.perf_counter(), self.settings.seed + 1000 * self.layer
        self._look()
        reads = np.arange(self.keys.heads)[self.reading()]
        selected, why = None, "every head looks no further than its window"
        if len(reads):
            keys, values = self.of_heads(reads)
            queries = Queries(lambda n: self.queries(reads[n]), lambda n: self.asked_at(reads[n]))
            selected = self.selection.over(keys, values, self.settings.sinks, stop, queries=queries, seed=seed)
            why = f"{self.selection.name}: {selected.why}"
        self.selected, self.built, self.why = selected, True, why
        self.indexed = stop if selected else self.settings.sinks
        for head in reads.tolist():
            self.stats[head].built((time.perf_counter() - began) / len(reads))

    def _look(self) -> None:
        """Let the heads that stream drop what they do not read, if any does: all but sinks, a window, and the rows of
        this very text that their policy names when it first looks.
        """
        heads, tokens, middle = self.settings.heads, len(self), None
        if heads is None or (self.settings.evict and self.settings.evict.wants_heads):
            return
        windows = heads.windows(self.layer, self.keys.heads, tokens)
        if self.evicted is None:
            windows, middle = heads.reach(self.layer, self.keys, self.values, self._last(heads.queries), self.read)
        if (windows >= tokens).all():
            return
        self.windows = np.where(windows >= tokens, 0, windows)
        if self.lead is not None:
            self._stream([np.arange(first) for first in self.lead])
            return
        sinks = np.arange(min(self.settings.sinks, tokens))
        named = np.empty((self.keys.heads, 0), np.int64) if middle is None else middle
        self._stream([np.union1d(sinks, rows[(rows >= 0) & (rows < tokens - w)]) for rows, w in zip(named, windows)])

    def _streamed(self) -> bool:
        """Let them do so again of an answer that has grown long: a short one can be cropped off; True if they did."""
        if self.windows is None or self.lead is None or self.evicted is None or not self._due():
            return False
        if self.tokens - self.evicted.whole_from < ANSWER:
            return False
        self.read = self.tokens
        self._stream([np.arange(first) for first in self.lead])
        return True

    def _stream(self, first: Sequence[np.ndarray]) -> None:
        """Hold of each head that streams the rows `first`, from now on the first ones, and those of its window at the
        end of the last prompt and since: what comes after that can be cropped off.
        """
        assert self.windows is not None
        assert self.settings.heads is not None
        lengths, least = self.keys.lengths.tolist(), self.read or self.tokens
        since = self.tokens - least
        kept = [
            np.union1d(mine[mine < rows], np.arange(max(rows - since - window, 0), rows)) if window else np.arange(rows)
            for mine, window, rows in zip(first, self.windows.tolist(), lengths)
        ]
        self.drop(kept, self.settings.heads.compensate, self.windows > 0, least)
        self.lead = np.array([len(mine) for mine in first], np.int64)

    def _insert(self, stop: int) -> None:
        assert self.selected is not None
        began, heads = time.perf_counter(), np.arange(self.keys.heads)[self.reading()].tolist()
        try:
            self.selected.insert(stop)
        except BaseException:
            self._forget()  # some heads may be ahead of others: made anew
            raise
        for head in heads:
            self.stats[head].inserted((time.perf_counter() - began) / len(heads))
        self.indexed = stop
