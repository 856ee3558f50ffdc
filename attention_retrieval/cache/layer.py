"""One layer's cache for one sequence: keys, values, and what a step reads of them. NumPy alone, no torch.

Rows of every head (`held.py`) lie in zones (`zones.py`). Static and pending ones are attended to exactly, by whoever
holds them near the model; here are all of them, and what the selection reads of those indexed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from fovea.attention_retrieval.cache.zones import Zones
from fovea.attention_retrieval.corrections.act import ActCorrection, attended, calmed
from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.rag.errors import ModelError


class LayerCache(Zones):
    """`attend` and `retrieve` read; `crop` and `keep` forget."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        super().__init__(settings, layer, heads, d)
        self.found: Sequence[Found] = ()
        self.asked = np.zeros((0, 0, 0), np.float32)
        self.attention = np.zeros(0)
        """What each token got of the attention of the `watched` decoded ones: mean over the query heads that the
        settings name, sum over those tokens."""
        self.watched = 0

    @property
    def uneven(self) -> bool:
        """Whether heads hold different rows, or one that stands for others: then they are read here alone."""
        return len(self.keys.parts) > 1 or self.windows is not None or self.rest is not None

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

    def watch(self, near: np.ndarray, weights: np.ndarray, lse: np.ndarray) -> None:
        """Add a decoded token's attention: `weights` (heads, group, near) of the rows `near`, and of what was found.

        `lse` (heads, group) is that of all attention together: what was found weighs exp(logit - lse).
        """
        chosen = self.chosen(lse.size).reshape(lse.shape)
        if len(self.attention) < len(self):
            self.attention = np.concatenate([self.attention, np.zeros(2 * len(self) - len(self.attention))])
        searched = self.found if self.selected is not None else ()
        if self.selected is not None and not searched:
            weights = self._watch_all(weights, lse, chosen)
        self.attention[near] += weights[chosen > 0].sum(axis=0) / chosen.sum()
        for found, mine, counts in zip(searched, lse, chosen):
            real = (found.ids >= 0) & (counts > 0)[:, None]
            np.add.at(self.attention, found.ids[real], np.exp(found.logits - mine[:, None])[real] / chosen.sum())
        self.watched += 1

    def chosen(self, queries: int) -> np.ndarray:
        """1 for each query head of the layer that is watched, else 0."""
        return np.isin(np.arange(queries), self.settings.watched(self.layer, queries)).astype(np.float32)

    def _watch_all(self, weights: np.ndarray, lse: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Add the attention to every indexed token: of a selection's estimates nothing is known token by token.

        Returns `weights` as shares of what all tokens get in truth, where `lse` is an estimate of it.
        """
        from fovea.attention_retrieval.kernels.attend import scan_logits

        near = weights.copy()
        for head, (q, mine, counts) in enumerate(zip(self.asked, lse, chosen > 0)):
            if counts.any():
                logits = scan_logits(self.keys.head(head).stored, q[counts], self.settings.sinks, self.indexed)
                far = np.exp(logits - mine[counts, None])
                whole = weights[head, counts].sum(axis=1) + far.sum(axis=1)
                near[head, counts] /= whole[:, None]
                self.attention[self.settings.sinks : self.indexed] += (far / whole[:, None]).sum(axis=0) / chosen.sum()
        return near

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
