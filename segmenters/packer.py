"""The packer: from cuts to spans under `min_tokens`, `max_tokens` and `overlap`.

Where a budget makes it choose, it takes of all ways to cut a segment the one that minimises, over its chunks,

    sum of 1 + W * max(0, strongest break inside the chunk - weaker break of its two ends)

so one chunk more is worth it when a chunk would otherwise swallow a break that is stronger by 1 / W than an end of its
own: sections stay whole before paragraphs, paragraphs before sentences, and nothing is cut more often than this needs.
Ties go to the fuller first chunk. A dynamic programme over the places finds it in O(places * places per chunk); where
all places are equally strong, filling chunk after chunk finds it in O(chunks * log places).

A part between two places that is too large by itself is filled with clauses, else words, else parts of words, else
characters, so that `max_tokens` holds for every text; only a single code point may exceed it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from fovea.rag import trace
from fovea.rag.encoder import Tokenizer
from fovea.rag.segmenter import Cut
from fovea.rag.types import Span
from fovea.segmenters.places import LADDER, Places, words
from fovea.segmenters.ruler import Ruler

if TYPE_CHECKING:
    import numpy as np

SURE = 1000
"""The strength of a place that is cut whatever the budget, in thousandths, in which all strengths are counted."""
W = 4
"""A chunk more for a quarter of a break's strength."""
SMALL = 10
"""What a chunk under `min_tokens` costs, in chunks."""
ROUNDS = 3
"""Attempts to find a best way whose exact counts hold before the chunks that are too large are cut by themselves."""


def pack(
    text: str,
    cuts: Iterable[Cut],
    tokenizer: Tokenizer,
    *,
    max_tokens: int | None = None,
    min_tokens: int = 0,
    overlap: int = 0,
) -> list[Span]:
    """Spans of `text`, in order, trimmed of white space, that leave nothing else out.

    `overlap` moves the start of a chunk back to a cut, or where none is near enough to a word, at most that many tokens
    before and never to the start of the chunk before. Raises ValueError for cuts that do not rise strictly inside
    `text` or whose scores are not in `(0, 1]`.
    """
    end = len(text.rstrip())
    start = end - len(text[:end].lstrip())
    strength = {start: SURE, **places(text, cuts, start, end), end: SURE}
    if start == end:
        return []
    packing = _Packing(Ruler(text, tokenizer), strength, max_tokens, min_tokens, overlap)
    return packing.spans()


def places(text: str, cuts: Iterable[Cut], start: int, end: int) -> dict[int, int]:
    """Strength by place in thousandths, rising: each cut moved on over white space; where several meet, the strongest
    counts. Only a score of 1 is sure.
    """
    listed = list(cuts)
    _check(listed, len(text))
    found: dict[int, int] = {}
    following, scanned = end, end
    for at, score in reversed(listed):
        if start < at < end:
            inside = text[at:scanned]
            rest = len(inside.lstrip()) if inside[:1].isspace() else len(inside)
            following = scanned - rest if rest else following
            scanned = at
            strength = SURE if score == 1 else min(round(SURE * score), SURE - 1)
            found[following] = max(strength, found.get(following, 0))
    found.pop(end, None)
    return dict(reversed(found.items()))


def _check(cuts: Sequence[Cut], length: int) -> None:
    last = 0
    for at, score in cuts:
        if not (last < at < length and 0 < score <= 1):
            raise ValueError(f"cuts rise strictly inside a text of {length} and score in (0, 1]: {at}, {score}")
        last = at


class _Packing:
    """One text being packed. A part is the range between two starts: a chunk without its overlap and white space."""

    def __init__(
        self, ruler: Ruler, strength: dict[int, int], max_tokens: int | None, min_tokens: int, overlap: int
    ) -> None:
        self.ruler, self.text, self.strength = ruler, ruler.text, strength
        self.cap, self.floor, self.overlap = max_tokens, min_tokens, overlap
        self.places = list(strength)
        self.start, self.end = self.places[0], self.places[-1]

    def spans(self) -> list[Span]:
        hard = [i for i, s in enumerate(self.strength.values()) if s == SURE]
        starts = [s for i, j in pairwise(hard) for s in self._divide(self.places[i : j + 1])]
        if self.floor:
            self._join_small(starts)
        parts = list(pairwise([*starts, self.end]))
        if self.overlap:
            parts = [parts[0], *(self._reach_back(before, part) for before, part in pairwise(parts))]
        return [Span(a, a + len(self.text[a:b].rstrip())) for a, b in parts]

    def _room(self, start: int) -> int:
        """Tokens that the part beginning at `start` may have."""
        assert self.cap is not None
        return self.cap if start == self.start else self.cap - self.overlap

    def _fits(self, start: int, end: int) -> bool:
        return self.cap is None or self.ruler.count(start, end) <= self._room(start)

    def _divide(self, at: list[int]) -> list[int]:
        """The starts of the parts of one segment, whose places are `at`."""
        if self.cap is None:
            return [at[0]]
        tokens = self.ruler.before(at)
        if tokens[-1] - tokens[0] <= self._room(at[0]) and self._fits(at[0], at[-1]):
            return [at[0]]
        if len({self.strength[p] for p in at[1:-1]}) <= 1:
            return self._fill(at, LADDER)
        return [s for i, j in pairwise(self._best(at, tokens.tolist())) for s in self._fill(at[i : j + 1], LADDER)]

    def _best(self, at: list[int], tokens: list[int]) -> list[int]:
        """Indices of the places of the best way, exact counts heeded."""
        first, room, slack = self._room(at[0]), self._room(-1), 0
        strength = [self.strength[p] for p in at]
        for _ in range(ROUNDS):
            way = best_way(tokens, strength, first - slack, room - slack, self.floor)
            chunks = [(at[i], at[j]) for i, j in pairwise(way) if j - i > 1]
            excess = max((self.ruler.count(a, b) - self._room(a) for a, b in chunks), default=0)
            if excess <= 0:
                break
            slack += excess
        return way

    def _fill(self, at: list[int], ladder: Sequence[Places]) -> list[int]:
        """Starts such that each part takes as much as fits; what is too large by itself is filled with finer parts."""
        tokens, starts, i = self.ruler.before(at), [], 0
        while i < len(at) - 1:
            j = self._reach(at, tokens, i)
            if j > i:
                starts.append(at[i])
            elif ladder:
                j = i + 1
                starts += self._fill([at[i], *ladder[0](self.text, at[i], at[j]), at[j]], ladder[1:])
            else:
                j = i + 1
                starts.append(at[i])
                trace.warn("a single character has more tokens than max_tokens")
            i = j
        return starts

    def _reach(self, at: list[int], tokens: np.ndarray, i: int) -> int:
        """The last place up to which a part from `at[i]` fits; `i` if not even the next one."""
        reach = int(tokens.searchsorted(tokens[i] + self._room(at[i]), side="right")) - 1
        miss = min(max(reach, i + 1), len(at) - 1)
        if self._fits(at[i], at[miss]):
            return miss
        step = 1
        while miss - step > i and not self._fits(at[i], at[miss - step]):
            miss, step = miss - step, 2 * step
        hold = max(miss - step, i)
        while miss - hold > 1:
            middle = (hold + miss) // 2
            hold, miss = (middle, miss) if self._fits(at[i], at[middle]) else (hold, middle)
        return hold

    def _join_small(self, starts: list[int]) -> None:
        """Join each part under the floor to a neighbour: across the weaker break, then to the smaller one."""
        k = 0
        while k < len(starts):
            bounds = [*starts[max(k - 1, 0) : k + 3], self.end][: 4 if k else 3]
            here = bounds.index(starts[k])
            if self.ruler.count(starts[k], bounds[here + 1]) >= self.floor:
                k += 1
                continue
            options = [
                (self.strength.get(gone, 0), self.ruler.count(a, b), gone)
                for a, gone, b in zip(bounds, bounds[1:], bounds[2:])
                if self._fits(a, b)
            ]
            if not options:
                k += 1
                continue
            gone = min(options)[2]
            del starts[bisect_left(starts, gone)]
            k -= gone == bounds[here]

    def _reach_back(self, before: tuple[int, int], part: tuple[int, int]) -> tuple[int, int]:
        """The part with its overlap: begun earlier, as far as the overlap and the cap allow."""
        start, end = part
        earliest = max(self.ruler.back(start, self.overlap), before[0] + 1)

        def fits(at: int) -> bool:
            small = self.ruler.count(at, start) <= self.overlap
            return small and (self.cap is None or self.ruler.count(at, end) <= self.cap)

        cuts = self.places[bisect_left(self.places, earliest) : bisect_left(self.places, start)]
        for candidates in (cuts, words(self.text, earliest - 1, start)):
            if candidates and fits(candidates[0]):
                return candidates[0], end
            if (k := bisect_left(candidates, True, key=fits)) < len(candidates):
                return candidates[k], end
        return part


def best_way(tokens: Sequence[int], strength: Sequence[int], first: int, room: int, floor: int) -> list[int]:
    """The places to cut at, first and last included, that minimise the packer's formula.

    `tokens[i]` lie before place i, `strength[i]` is in thousandths. A chunk holds at most `room` tokens, the first one
    `first`, unless there is no place inside it; under `floor` it costs `SMALL` chunks more.
    """
    best, came = [0] * len(tokens), [0] * len(tokens)
    for j in range(1, len(tokens)):
        least, inside, end = None, -1, strength[j]
        for i in range(j - 1, -1, -1):
            size = tokens[j] - tokens[i]
            if size > first and i < j - 1:
                break
            if size <= room or i in (0, j - 1):
                weaker = strength[i] if strength[i] < end else end
                cost = best[i] + SURE + (W * (inside - weaker) if inside > weaker else 0)
                cost += SMALL * SURE * (size < floor)
                if least is None or cost < least:
                    least, came[j] = cost, i
            inside = max(inside, strength[i])
        best[j] = least or 0
    way = [len(tokens) - 1]
    while way[-1]:
        way.append(came[way[-1]])
    return way[::-1]
