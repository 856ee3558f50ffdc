"""One layer's cache for one sequence: keys, values, and the indexes over them. NumPy alone, no torch.

Every token is in one of three zones, which positions tell apart:

    static    [0, sinks) and the last `window` tokens
    indexed   [sinks, indexed)
    pending   between `indexed` and the window: no longer in the window, not yet in the index

Static and pending tokens are attended to exactly, by whoever holds them near the model; here are all tokens, and what
the indexes find.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from os import cpu_count
from typing import TypeVar

import numpy as np

from fovea.attention_retrieval.cache.choice import chosen
from fovea.attention_retrieval.cache.queries import QuerySample
from fovea.attention_retrieval.cache.report import HeadStats
from fovea.attention_retrieval.corrections.correction import Corrected
from fovea.attention_retrieval.index.blas import one_thread
from fovea.attention_retrieval.index.engine import NO_BIAS, Engine, Found, Index, Keys, recall
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.selection.selection import Selected
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import Vectors

T = TypeVar("T")


class LayerCache:
    """Tokens are appended by `append`; `advance` moves the zones; `retrieve` attends to what the indexes find."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        self.settings, self.layer = settings, layer
        self.keys, self.values = Vectors(heads, d, settings.dtype, "channel"), Vectors(heads, d, settings.dtype)
        self.sample, self.group = QuerySample(settings.queries), 0
        self.indexed = settings.sinks
        self.indexes: list[Index] = []
        self.corrected: list[Corrected] = []
        self.selection = settings.selection
        self.engine: Engine | None = None
        self.selected: Selected | None = None
        self.why = f"up to {settings.dense_below:,} tokens every key is read"
        self.stats = [HeadStats(layer, head) for head in range(heads)]
        self.steps = 0
        self.found: list[Found] = []
        self.asked = np.zeros((0, 0, 0), np.float32)
        self.attention = np.zeros(0)
        """What each token got of the attention of the `watched` decoded ones: mean over query heads, sum over those."""
        self.watched = 0

    def __len__(self) -> int:
        return len(self.keys)

    def append(self, keys: np.ndarray, values: np.ndarray) -> None:
        """Take tokens in, (heads, tokens, d) each; raises ModelError where one is not finite, and takes none."""
        before = len(self)
        try:
            self.keys.append(keys)
            self.values.append(values)
        except BaseException:
            self.keys.crop(before)
            self.values.crop(before)
            raise

    def learn(self, queries: np.ndarray, start: int) -> None:
        """Keep some of a prompt's queries, (query heads, tokens, d) times the scaling, from position `start` on.

        None of them where a selection reads: it looks at none.
        """
        if not self.group:
            self.group = len(queries) // self.keys.heads
            self.sample = QuerySample(max(self.settings.queries // self.group, 1))
        if self.selection is None:
            self.sample.add(queries, start)

    def advance(self) -> bool:
        """Build the index, or let it take the pending tokens, where it is time; True if a zone has moved."""
        dynamic = len(self) - self.settings.window
        if self.settings.top_k == 0 and not self.selection:
            return self._slide(dynamic)
        if not self.is_searched:
            if len(self) <= self.settings.dense_below or dynamic <= self.settings.sinks:
                return False
            self._build(dynamic)
            return True
        if dynamic - self.indexed < self.settings.insert_every:
            return False
        self._insert(dynamic)
        return True

    @property
    def is_searched(self) -> bool:
        """Whether there are indexed tokens."""
        return bool(self.indexes) or self.selected is not None

    def near(self, q: np.ndarray) -> Partial:
        """Attention of `q` (heads, group, d), times the scaling, to all that is not indexed."""
        from fovea.attention_retrieval.kernels.spans import attend_spans

        sinks = min(self.settings.sinks, self.indexed, len(self))
        spans = np.array([[0, sinks], [max(self.indexed, sinks), len(self)]])
        return Partial(*attend_spans(self.keys.table, self.values.table, q, spans))

    def attend(self, q: np.ndarray) -> Partial:
        """Attention of `q` (heads, group, d), times the scaling, to all tokens, as the settings have it."""
        near = self.near(q)
        if self.selected is not None:
            return self._select(q, near)
        found = self.retrieve(q)
        return near if found is None else merge(near, found)

    def retrieve(self, q: np.ndarray) -> Partial | None:
        """Attention over the indexed tokens that `q` (heads, group, d), times the scaling, finds; None without index.

        The result is (heads, group, d) and (heads, group).
        """
        if self.selected is not None:
            nothing = Partial(np.zeros_like(q), np.full(q.shape[:2], -np.inf, np.float32))
            return self._select(q, nothing)
        if not self.indexes:
            return None
        from fovea.attention_retrieval.kernels.attend import attend_ids

        more = self.settings.correction.more if self.settings.correction else 0

        def one(head: int) -> tuple[np.ndarray, np.ndarray, Found]:
            began = time.perf_counter()
            found = self.indexes[head].search(q[head], self.settings.k + more)
            between = time.perf_counter()
            if self.corrected:
                out, lse = self.corrected[head].attend(q[head], found)
            else:
                out, lse = attend_ids(self.values.head(head).stored, found.ids, found.logits)
            self.stats[head].searched(found, self.indexed - self.settings.sinks, began, between)
            return out, lse, found

        parts = side_by_side(one, range(len(self.indexes)), self.settings.threads)
        self.found = [found for _, _, found in parts]
        self._audit(q)
        return Partial(np.stack([out for out, _, _ in parts]), np.stack([lse for _, lse, _ in parts]))

    def _select(self, q: np.ndarray, near: Partial) -> Partial:
        assert self.selected is not None
        began = time.perf_counter()
        read = self.selected.attend(q, near)
        seconds = (time.perf_counter() - began) / len(self.stats)
        for stats, rows, size in zip(self.stats, read.rows.tolist(), read.bytes.tolist()):
            stats.read(rows, size, self.indexed - self.settings.sinks, seconds)
        self.asked = q
        return read.part

    def watch(self, near: np.ndarray, weights: np.ndarray, lse: np.ndarray) -> None:
        """Add a decoded token's attention: `weights` (heads, group, near) of the rows `near`, and of what was found.

        `lse` (heads, group) is that of all attention together: what was found weighs exp(logit - lse).
        """
        if len(self.attention) < len(self):
            self.attention = np.concatenate([self.attention, np.zeros(2 * len(self) - len(self.attention))])
        queries = lse.size
        self.attention[near] += weights.sum(axis=(0, 1)) / queries
        if self.selected is not None:
            self._watch_all(lse)
        for index, found, mine in zip(self.indexes, self.found, lse):
            real = found.ids >= 0
            drawn = index.keys.bias[found.ids] if len(index.keys.bias) else 0
            share = np.exp(found.logits - drawn - mine[:, None])
            np.add.at(self.attention, found.ids[real], share[real] / queries)
        self.watched += 1

    def _watch_all(self, lse: np.ndarray) -> None:
        """Add the attention to every indexed token: of a selection's estimates nothing is known token by token."""
        from fovea.attention_retrieval.kernels.attend import scan_logits

        for head, (q, mine) in enumerate(zip(self.asked, lse)):
            logits = scan_logits(self.keys.head(head).stored, q, self.settings.sinks, self.indexed)
            self.attention[self.settings.sinks : self.indexed] += np.exp(logits - mine[:, None]).sum(axis=0) / lse.size

    def crop(self, length: int) -> None:
        """Forget the tokens from `length` on; an index that holds one of them is built anew when it is next needed."""
        self.sample.keep(np.arange(len(self)) < length)
        self.keys.crop(length)
        self.values.crop(length)
        self.attention[length:] = 0
        if length < self.indexed:
            self._forget()

    def keep(self, kept: np.ndarray) -> None:
        """Forget the tokens where `kept` (tokens,) is false; those behind the first of them are copied, and close up.

        An index that reaches beyond the first of them is built anew when it is next needed.
        """
        if kept.all():
            return
        first, tokens = int(np.argmin(kept)), len(self)
        behind = np.flatnonzero(kept[first:])
        keys, values = (each.block(first, tokens) for each in (self.keys, self.values))
        for vectors in (self.keys, self.values):
            vectors.crop(first)
        try:
            self.append(keys[:, behind], values[:, behind])
        except BaseException:
            self.append(keys, values)
            raise
        self.sample.keep(kept)
        self.attention = self.attention[:tokens][kept[: len(self.attention)]]
        if first < self.indexed:
            self._forget()

    @property
    def nbytes(self) -> int:
        """Bytes of keys and values, and of what is made of them."""
        made = sum(self.bytes_of(head)[1] for head in range(self.keys.heads))
        return self.keys.nbytes + self.values.nbytes + made

    def bytes_of(self, head: int) -> tuple[int, int]:
        """Bytes of one head's keys, and of its index and correction."""
        index = self.indexes[head].nbytes if self.indexes else 0
        index += self.selected.nbytes // self.keys.heads if self.selected else 0
        correction = self.corrected[head].nbytes if self.corrected else 0
        return self.keys.nbytes // self.keys.heads, index + correction

    def _slide(self, stop: int) -> bool:
        """Nothing is searched for, so what has left the window is never read again."""
        moved = len(self) > self.settings.dense_below and stop > self.indexed
        if moved:
            self.indexed, self.why = stop, "only sinks and window are read"
        return moved

    def _forget(self) -> None:
        self.indexes, self.corrected, self.selected, self.indexed = [], [], None, self.settings.sinks

    def _build(self, stop: int) -> None:
        """Indexes for all heads, or, if it is interrupted, none."""
        if selection := self.selection:
            began, seed = time.perf_counter(), self.settings.seed + 1000 * self.layer
            self.selected = selection.over(self.keys, self.values, self.settings.sinks, stop, seed=seed)
            self.indexed, self.why = stop, f"{selection.name}: clusters of the text, the heaviest read row by row"
            for stats in self.stats:
                stats.built((time.perf_counter() - began) / len(self.stats))
            return
        first = Keys(self.keys.head(0), self.settings.sinks, stop)
        self.engine, self.why = chosen(self.settings, first, self.sample.group(0, self.group))
        engine = self.engine

        correction = self.settings.correction

        def one(head: int) -> tuple[Index, Corrected | None]:
            began = time.perf_counter()
            keys = Keys(self.keys.head(head), self.settings.sinks, stop, self.bias(head, stop))
            queries = self.sample.group(head, self.group)
            seed = self.settings.seed + 1000 * self.layer + head
            index = engine.build(keys, queries if engine.needs_queries else None, seed=seed)
            values = self.values.head(head)
            corrected = correction.over(index.keys, values, queries, seed=seed) if correction else None
            self.stats[head].built(time.perf_counter() - began)
            return index, corrected

        with one_thread():
            built = side_by_side(one, range(self.keys.heads), self.settings.threads)
        self.indexes, self.corrected = [index for index, _ in built], [each for _, each in built if each]
        self.indexed = stop

    def bias(self, head: int, stop: int) -> np.ndarray:
        """What the correction adds to the logits of a head's rows up to `stop`."""
        correction, settings = self.settings.correction, self.settings
        if correction is None:
            return NO_BIAS
        return correction.bias(stop, seed=settings.seed, layer=self.layer, head=head)

    def _insert(self, stop: int) -> None:
        if self.selected is not None:
            began = time.perf_counter()
            self.selected.insert(stop)
            self.indexed = stop
            for stats in self.stats:
                stats.inserted((time.perf_counter() - began) / len(self.stats))
            return

        def one(head: int) -> None:
            began = time.perf_counter()
            index = self.indexes[head]
            index.keys.bias = self.bias(head, stop)
            index.insert(stop)
            if self.corrected:
                self.corrected[head].insert(index.keys)
            self.stats[head].inserted(time.perf_counter() - began)

        try:
            with one_thread():
                side_by_side(one, range(len(self.indexes)), self.settings.threads)
        except BaseException:
            self._forget()  # some heads may be ahead of others: build anew
            raise
        self.indexed = stop

    def _audit(self, q: np.ndarray) -> None:
        """Repeat one head's search exactly, in turn."""
        self.steps += 1
        every = self.settings.audit_every
        if not every or self.steps % every:
            return
        head = (self.steps // every) % len(self.indexes)
        index, k = self.indexes[head], self.settings.k
        exact = index.keys.best(q[head], k)
        self.stats[head].audited(float(recall(self.found[head].ids[:, :k], exact.ids).mean()))
        index.repair(q[head], exact.ids)


def side_by_side(do: Callable[[int], T], heads: Iterable[int], threads: int) -> list[T]:
    """`do` for every head, in threads; kernels let go of the interpreter's lock."""
    threads = threads or cpu_count() or 1
    work = list(heads)
    if threads == 1 or len(work) == 1:
        return [do(head) for head in work]

    def share(first: int) -> list[T]:
        return [do(head) for head in work[first::threads]]

    parts = list(_pool(threads).map(share, range(min(threads, len(work)))))
    return [parts[n % len(parts)][n // len(parts)] for n in range(len(work))]


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fovea-heads")
