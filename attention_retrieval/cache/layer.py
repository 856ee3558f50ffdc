"""One layer's cache for one sequence: keys, values, and what a step reads of them. NumPy alone, no torch.

Every row is in one of three zones, which row numbers tell apart:

    static    [0, sinks) and the last `window` rows
    indexed   [sinks, indexed)
    pending   between `indexed` and the window: no longer in the window, not yet taken in by the selection

Static and pending rows are attended to exactly, by whoever holds them near the model; here are all rows, and what the
selection reads of those indexed. Rows are tokens, in order, but for those that were dropped: by an eviction, or by a
head that streams, when they have left its window. Each head holds its own rows. The zones are of the heads that read
the whole text, or hold most of it; others read all that they hold.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fovea.attention_retrieval.cache.held import Held
from fovea.attention_retrieval.cache.queries import QuerySample
from fovea.attention_retrieval.cache.report import HeadStats
from fovea.attention_retrieval.corrections.act import ActCorrection, attended, calmed
from fovea.attention_retrieval.eviction.eviction import Shares
from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.selection import Queries, Selected
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.errors import ModelError

ANSWER = 4096
"""Tokens of an answer that heads which stream hold, so that it can be cropped off, before they drop any."""


class LayerCache(Held):
    """Rows are appended by `append`; `advance` moves the zones; `attend` and `retrieve` read."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        self.settings, self.layer, self.selection = settings, layer, settings.selection
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
        self.found: Sequence[Found] = ()
        self.asked = np.zeros((0, 0, 0), np.float32)
        self.attention = np.zeros(0)
        """What each token got of the attention of the `watched` decoded ones: mean over the query heads that the
        settings name, sum over those tokens."""
        self.watched = 0

    @property
    def moves(self) -> bool:
        """Whether keys are read at other places than the text's."""
        return self.selection is not None and self.selection.moves

    @property
    def alone(self) -> bool:
        """Whether all attention is computed here, wherever the model is: keys move, or sinks are taken down."""
        return self.moves or self.settings.calming is not None

    @property
    def uneven(self) -> bool:
        """Whether heads hold different rows, or one that stands for others: then they are read here alone."""
        return len(self.keys.parts) > 1 or self.windows is not None or self.rest is not None

    def learn(self, queries: np.ndarray, start: int) -> None:
        """Keep some of a prompt's queries, (query heads, tokens, d) times the scaling, from token `start` on.

        Those that the selection learns from, and the last ones, for an eviction or a policy of heads.
        """
        self.mid_text = None
        if self.selected is not None:
            self.selected.anew()
        if not self.group:
            self.group = len(queries) // self.keys.heads
            self.sample = QuerySample(max(self.settings.queries // self.group, 1))
        if (self.selection and self.selection.needs_queries) or self.calms:
            self.sample.add(queries, start)
        if (count := self.settings.last_queries) is not None:
            before = () if self.last is None else (self.last,)
            last = np.concatenate([*before, queries[:, max(queries.shape[1] - count, 0) :]], axis=1)
            self.earlier, self.last = (start, self.last), last[:, max(last.shape[1] - count, 0) :]
        self.read = start + queries.shape[1]

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

    def near(self, q: np.ndarray) -> Partial:
        """Attention of `q` (heads, group, d), times the scaling, to all that is not indexed."""
        from fovea.attention_retrieval.kernels.spans import attend_spans

        sinks, lengths = min(self.settings.sinks, self.indexed, len(self)), self.keys.lengths
        spans = np.zeros((self.keys.heads, 2, 2), np.int64)
        spans[:, 0, 1] = lengths
        mine = self.reading()
        spans[mine, 0, 1], spans[mine, 1] = sinks, (max(self.indexed, sinks), len(self))
        if self.windows is not None and self.lead is not None and self.rest is None:
            streams = self.windows > 0
            first, end = self.lead[streams], lengths[streams]
            spans[streams, 0, 1], spans[streams, 1, 1] = first, end
            spans[streams, 1, 0] = np.maximum(end - self.windows[streams], first)
        if self.selected is not None and self.moves:
            spans[mine, 0] = 0
        part = Partial(*attend_spans(self.keys.table, self.values.table, q, spans))
        return part if self.rest is None else merge(part, self.rest.attend(q))

    def attend(self, q: np.ndarray) -> Partial:
        """Attention of `q` (heads, group, d), times the scaling, to all tokens, as the settings have it."""
        near = self.near(q)
        whole = near if self.selected is None else self._select(q, near)
        if self.settings.calming:
            for head in self.calms:
                self._calm(self.settings.calming, head, q, whole)
        return whole

    def retrieve(self, q: np.ndarray) -> Partial | None:
        """Attention of `q` (heads, group, d), times the scaling, to what is read of the indexed rows; None without.

        The result is (heads, group, d) and (heads, group).
        """
        if self.selected is None:
            return None
        return self._select(q, Partial(np.zeros_like(q), np.full(q.shape[:2], -np.inf, np.float32)))

    @property
    def calms(self) -> list[int]:
        """The query heads whose attention to sinks in mid-text is taken down."""
        return self.settings.calming.of(self.layer) if self.settings.calming else []

    def _calm(self, act: ActCorrection, head: int, q: np.ndarray, whole: Partial) -> None:
        """Take one query head's sinks in mid-text down, in place; after a prompt they are looked for anew."""
        if self.mid_text is None:
            self.mid_text = {}
        if head not in self.mid_text:
            at, queries = self.sample.positions, self.sample.queries
            seen = self.keys.head(head // q.shape[1]).block(0, int(at.max(initial=-1)) + 1)
            there = act.sinks(queries[head], at, seen) if queries is not None else np.empty(0, np.int32)
            self.mid_text[head] = there
        kv, g = divmod(head, q.shape[1])
        sinks = attended(self.keys.head(kv), self.values.head(kv), q[kv, g : g + 1], self.mid_text[head])
        mine = Partial(whole.out[kv, g : g + 1], whole.lse[kv, g : g + 1])
        whole.out[kv, g] = calmed(mine, sinks, act.beta)[0]

    def _select(self, q: np.ndarray, near: Partial) -> Partial:
        assert self.selected is not None
        began, mine = time.perf_counter(), self.reading()
        self.selected.now = len(self) - 1
        read = self.selected.attend(q[mine], Partial(near.out[mine], near.lse[mine]))
        seconds = (time.perf_counter() - began) / len(read.rows)
        for n, head in enumerate(np.arange(self.keys.heads)[mine].tolist()):
            finding = 0.0 if read.seconds is None else float(read.seconds[n])
            self.stats[head].read(int(read.rows[n]), int(read.bytes[n]), self.indexed - self.settings.sinks)
            self.stats[head].took(finding, max(seconds - finding, 0.0))
            if n in read.recalls:
                self.stats[head].audited(read.recalls[n])
        self.asked, self.found = q, read.found
        if isinstance(mine, slice):
            return read.part
        near.out[mine], near.lse[mine] = read.part
        return near

    def reading(self) -> slice | np.ndarray:
        """The heads that read the whole text, or hold most of it."""
        if self.windows is not None:
            return np.flatnonzero(self.windows == 0)
        return slice(None) if len(self.keys.parts) == 1 else np.flatnonzero(self.keys.lengths == len(self))

    def watch(self, near: np.ndarray, weights: np.ndarray, lse: np.ndarray) -> None:
        """Add a decoded token's attention: `weights` (heads, group, near) of the rows `near`, and of what was found.

        `lse` (heads, group) is that of all attention together: what was found weighs exp(logit - lse).
        """
        chosen = self.chosen(lse.size).reshape(lse.shape)
        if len(self.attention) < len(self):
            self.attention = np.concatenate([self.attention, np.zeros(2 * len(self) - len(self.attention))])
        self.attention[near] += weights[chosen > 0].sum(axis=0) / chosen.sum()
        if self.selected is not None and not self.found:
            self._watch_all(lse, chosen)
        for found, mine, counts in zip(self.found, lse, chosen):
            real = (found.ids >= 0) & (counts > 0)[:, None]
            np.add.at(self.attention, found.ids[real], np.exp(found.logits - mine[:, None])[real] / chosen.sum())
        self.watched += 1

    def chosen(self, queries: int) -> np.ndarray:
        """1 for each query head of the layer that is watched, else 0."""
        return np.isin(np.arange(queries), self.settings.watched(self.layer, queries)).astype(np.float32)

    def _watch_all(self, lse: np.ndarray, chosen: np.ndarray) -> None:
        """Add the attention to every indexed token: of a selection's estimates nothing is known token by token."""
        from fovea.attention_retrieval.kernels.attend import scan_logits

        for head, (q, mine, counts) in enumerate(zip(self.asked, lse, chosen > 0)):
            if counts.any():
                logits = scan_logits(self.keys.head(head).stored, q[counts], self.settings.sinks, self.indexed)
                share = np.exp(logits - mine[counts, None]).sum(axis=0) / chosen.sum()
                self.attention[self.settings.sinks : self.indexed] += share

    def crop(self, tokens: int) -> None:
        """Forget the tokens from `tokens` on; a selection over one of them is made anew when it is next needed.

        Raises ModelError where an eviction has dropped some of those before.
        """
        if not self.can_crop(tokens):
            what = f"the first {tokens:,} tokens are not all there: some were evicted"
            raise ModelError(what, fix="read the text anew, or leave out evict and heads")
        if tokens < self.tokens or not tokens:
            start, last = self.earlier
            self.last, self.read = (last, start) if tokens == start else (None, min(self.read, tokens))
            self.earlier = 0, None
        rows = min(max(tokens - self.tokens + len(self), 0), len(self)) if tokens else 0
        self.sample.keep(np.arange(max(self.tokens, tokens)) < tokens)
        if self.evicted and not tokens:
            self.clear(self.keys.heads, self.keys.d, self.settings.dtype)
        self.keys.crop(rows)
        self.values.crop(rows)
        self.attention[rows:] = 0
        self.mid_text = None
        if rows < self.indexed:
            self._forget()
        elif self.selected is not None:
            self.selected.anew()

    def keep(self, kept: np.ndarray) -> None:
        """Forget the tokens where `kept` (tokens,) is false; those behind the first of them are copied, and close up.

        A selection that reaches beyond the first of them is made anew when it is next needed. Raises ModelError where
        one of them stands before the last that was evicted.
        """
        if kept.all():
            return
        if self.evicted and not kept[: self.evicted.whole_from].all():
            what = "the attention mask hides tokens of a text of which some were evicted"
            raise ModelError(what, fix="go on showing them, or leave out evict and heads")
        if self.moves:
            what = "the attention mask hides tokens that were read, so the others' places are no longer known"
            raise ModelError(what, fix="go on showing them, or select with positions: text")
        self.sample.keep(kept)
        self.mid_text = None
        self.last, self.earlier = None, (0, None)
        kept = kept[self.tokens - len(self) :]
        first, rows = int(np.argmin(kept)), len(self)
        behind = np.flatnonzero(kept[first:])
        keys, values = (each.last(rows - first) for each in (self.keys, self.values))
        for vectors in (self.keys, self.values):
            vectors.crop(first)
        try:
            self.append(keys[:, behind], values[:, behind])
        except BaseException:
            self.append(keys, values)
            raise
        self.attention = self.attention[:rows][kept[: len(self.attention)]]
        if first < self.indexed:
            self._forget()

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, and of what is made of them."""
        made = sum(self.bytes_of(head)[1] for head in range(self.keys.heads))
        return self.held_bytes + made

    def bytes_of(self, head: int) -> tuple[int, int]:
        """Bytes of one head's keys, and of what the selection keeps beside them."""
        heads = np.arange(self.keys.heads)[self.reading()]
        beside = self.selected.nbytes // len(heads) if self.selected and head in heads else 0
        return self.keys.head_bytes(head), beside

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
        return self.keys.some(heads), self.values.some(heads)

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
