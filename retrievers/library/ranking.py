"""The chunks of highest BM25 score, without scoring every chunk that holds a common word.

In prose nearly every chunk holds some word of a question such as "the", and scoring all of them takes FTS5 a tenth of a
second for 100,000 chunks (benchmarks/stores.py). As in MaxScore (Turtle and Flood, 1995), the rarest words alone give
candidates first: a word adds at most `(k1 + 1) idf`, so once the words left out cannot together reach the k-th score, a
chunk without any of the rare words cannot be among the best. The candidates are then scored with all words: the answer
is the same to the last bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.rag.corpus import uncommon
from fovea.rag.types import Scalar
from fovea.retrievers.library.database import Database

if TYPE_CHECKING:
    import numpy as np

K1, SMALLEST_IDF = 1.2, 1e-6
"""Constants of FTS5's `bm25()`."""
FEW = 5_000
"""In a library of no more chunks, all that match are scored."""
MOST_CANDIDATES = 2_000
MOST_WORDS = 256
"""Different words of a question that count, the rarest ones: FTS5 refuses much longer expressions."""
ROUNDING = 1e-6
REMEMBERED = 2_000_000
"""Chunks kept of all words together, 32 MB."""

Pairs = list[tuple[int, float]]


class Ranking:
    """BM25 over the lexical index; remembers how many chunks hold a word until the library changes.

    Its caller holds a snapshot: what is counted, guessed and scored must be of one commit.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sequence, self._count = -1, 0
        self._holding: dict[str, int] = {}
        self._columns: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def best(self, asked: Sequence[str], k: int, condition: str = "", values: Sequence[Scalar] = ()) -> Pairs:
        """The `(no, score)` of the `k` best chunks that hold any of the words and meet an SQL condition on chunks.

        `sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))` with k1 1.2, b 0.75 and
        `idf = max(1e-6, ln((N - n + 1/2) / (n + 1/2)))`; equal scores by rising `no`.
        """
        if not asked or k < 1:
            return []
        # The plus keeps SQLite from asking FTS5 anew for each of the listed rows, which takes minutes.
        inside = f"AND +rowid IN (SELECT no FROM chunks WHERE {condition})" if condition else ""
        self._follow()
        if self._count <= FEW and len(asked) <= MOST_WORDS:
            return self._scored(asked, k, inside, values)
        weights = {word: idf for word in asked if (idf := self._idf(word)) is not None}
        rarest = sorted(weights, key=lambda word: -weights[word])[:MOST_WORDS]
        asked = [word for word in asked if word in set(rarest)]
        if not asked:
            return []
        some = self._candidates(rarest, weights, k, inside, values)
        if some is None:
            return self._scored(asked, k, inside, values)
        return self._scored(asked, k, f"AND +rowid IN ({', '.join(str(no) for no in some)})", ())

    def uncommon(self, asked: Sequence[str], k: int, share: float, inside: np.ndarray | None = None) -> Pairs:
        """As `best`, over the words that no more than `share` of all chunks hold, or the rarest; `inside` are the
        chunks that may be found, rising. What a word adds to each chunk that holds it is remembered, so that a word
        costs its search once: adding up is a hundredth of it.
        """
        import numpy as np

        self._follow()
        words = uncommon({word: self._held(word) for word in asked}, self._count, share)[:MOST_WORDS]
        if not words:
            return []
        columns = [self._column(word) for word in words]
        nos, which = np.unique(np.concatenate([nos for nos, _ in columns]), return_inverse=True)
        scores = np.bincount(which, np.concatenate([added for _, added in columns]))
        if inside is not None:
            kept = np.isin(nos, inside, assume_unique=True)
            nos, scores = nos[kept], scores[kept]
        best = np.argsort(-scores, kind="stable")[:k]
        return list(zip(nos[best].tolist(), scores[best].tolist()))

    def _column(self, word: str) -> tuple[np.ndarray, np.ndarray]:
        """The `no` of every chunk that holds a word, rising, and what the word adds to its score."""
        import numpy as np

        if word not in self._columns:
            rows = self._db.all("SELECT rowid, -rank FROM lexicon WHERE lexicon MATCH ?", [f'"{word}"'])
            if sum(len(nos) for nos, _ in self._columns.values()) + len(rows) > REMEMBERED:
                self._columns = {}
            nos, added = zip(*rows)
            self._columns[word] = np.array(nos, np.int64), np.array(added, np.float64)
        return self._columns[word]

    def holding(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        """How many chunks there are, and how many of them hold each word."""
        self._follow()
        return self._count, {word: self._held(word) for word in words}

    def _candidates(
        self, rarest: list[str], weights: dict[str, float], k: int, inside: str, values: Sequence[Scalar]
    ) -> list[int] | None:
        """Chunks among which the best are sure to be, or None if only scoring all can tell."""
        n, before = 1, 0
        while n < len(rarest) and sum(self._holding[word] for word in rarest[: n + 1]) <= self._count // 10:
            n += 1
        while before < n < len(rarest):
            found = self._scored(rarest[:n], MOST_CANDIDATES, inside, values)
            if len(found) < k:
                return None
            bar, before = found[k - 1][1], n
            while n < len(rarest) and _reach(rarest[n:], weights) >= bar:
                n += 1
            least = bar - _reach(rarest[n:], weights) - ROUNDING
            if n == before and (len(found) < MOST_CANDIDATES or found[-1][1] < least):
                return [no for no, score in found if score >= least]
            n = max(n, before + 1)
        return None

    def _scored(self, some: Sequence[str], k: int, inside: str, values: Sequence[Scalar]) -> Pairs:
        expression = " OR ".join(f'"{word}"' for word in some)
        sql = f"SELECT rowid, -rank FROM lexicon WHERE lexicon MATCH ? {inside} ORDER BY rank, rowid LIMIT ?"
        return self._db.all(sql, [expression, *values, k])

    def _idf(self, word: str) -> float | None:
        """How much a word counts, or None if no chunk holds it."""
        if (n := self._held(word)) == 0:
            return None
        return max(SMALLEST_IDF, math.log((self._count - n + 0.5) / (n + 0.5)))

    def _held(self, word: str) -> int:
        """How many chunks hold a word."""
        if word not in self._holding:
            row = self._db.one("SELECT doc FROM temp.lexicon_words WHERE term = ?", (word,))
            self._holding[word] = row[0] if row else 0
        return self._holding[word]

    def _follow(self) -> None:
        """Forget what was counted before the library changed."""
        if (now := int(self._db.meta("sequence") or 0)) != self._sequence:
            row = self._db.one("SELECT count(*) FROM chunks")
            self._db.run("CREATE VIRTUAL TABLE IF NOT EXISTS temp.lexicon_words USING fts5vocab(main, lexicon, row)")
            self._sequence, self._count, self._holding = now, int(row[0]) if row else 0, {}
            self._columns = {}


def _reach(some: Sequence[str], weights: dict[str, float]) -> float:
    """More than words can add to a score."""
    return sum((K1 + 1) * weights[word] for word in some)
