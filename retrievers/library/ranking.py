"""The chunks of highest BM25 score, without scoring every chunk that holds a common word.

In prose nearly every chunk holds some word of a question such as "the". As in MaxScore (Turtle and Flood, 1995), the
rarest words are added up first: a word adds at most `(k1 + 1) idf`, so once the words left out cannot together reach
the k-th score, only chunks that come as near to it as those words reach are scored with all of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from fovea.rag.corpus import uncommon
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.older import OlderTerms, is_older
from fovea.retrievers.library.terms import Column, Terms

if TYPE_CHECKING:
    import numpy as np

K1, B, SMALLEST_IDF = 1.2, 0.75, 1e-6
"""The constants of SQLite FTS5's `bm25()`."""
BEGUN = 10
"""The rarest words are added up together while their postings are no more than one row in so many."""
WORTH = 20
"""Candidates are few enough when they are no more than one row in so many, and four times what is asked for."""
LINE = 64
"""Rows of which only the highest score is looked at for the bar."""
ROUNDING = 1e-9

Pairs = list[tuple[int, float]]
_VERSION = """SELECT (SELECT value FROM meta WHERE name = 'uuid'), (SELECT value FROM meta WHERE name = 'sequence'),
    (SELECT seq FROM sqlite_sequence WHERE name = 'segments'), user_version FROM pragma_user_version"""


class Ranking:
    """BM25 over the lexical index; remembers the columns of words until the library changes.

    Its caller holds a snapshot: what is counted and scored must be of one commit.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._version: tuple[object, ...] | None = None
        self._terms: Terms | None = None
        self._slow: np.ndarray | None = None

    def best(self, asked: Sequence[str], k: int, inside: np.ndarray | None = None) -> Pairs:
        """The `(no, score)` of the `k` best chunks that hold any of the words and are `inside` (`no`, rising).

        `sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))` with k1 1.2, b 0.75 and
        `idf = max(1e-6, ln((N - n + 1/2) / (n + 1/2)))`; equal scores by rising `no`. O(postings of the words that
        matter + chunks).
        """
        import numpy as np

        terms = self._follow()
        found = {word: column for word, column in terms.columns(asked).items() if column.held}
        if not found or k < 1:
            return []
        idf = {word: self._idf(column.held) for word, column in found.items()}
        allowed = None
        if inside is not None:
            allowed = np.isin(terms.nos, inside, assume_unique=True)
        some = self._candidates(found, idf, k, allowed)
        scores = np.zeros(len(some))
        for word in asked:  # In the order in which FTS5 adds: equal to the last bit.
            if word in found:
                f = found[word].at(some).astype(np.float64)
                scores += idf[word] * (f * (K1 + 1) / (f + self._slow[some]))
        order = np.argsort(-scores, kind="stable")[:k]
        return list(zip(terms.nos[some[order]].tolist(), scores[order].tolist()))

    def uncommon(self, asked: Sequence[str], k: int, share: float, inside: np.ndarray | None = None) -> Pairs:
        """As `best`, over the words that no more than `share` of all chunks hold, or the rarest."""
        count, holding = self.holding(asked)
        return self.best(uncommon(holding, count, share), k, inside)

    def holding(self, words: Sequence[str]) -> tuple[int, dict[str, int]]:
        """How many chunks there are, and how many of them hold each word."""
        terms = self._follow()
        found = terms.columns(words)
        return terms.count, {word: found[word].held for word in words}

    def _candidates(
        self, found: Mapping[str, Column], idf: Mapping[str, float], k: int, allowed: np.ndarray | None
    ) -> np.ndarray:
        """Rows, rising, among which the `k` best are."""
        import numpy as np

        rarest = sorted(found, key=lambda word: -idf[word])
        reach = np.cumsum([0.0, *((K1 + 1) * idf[word] for word in reversed(rarest))])[::-1]  # Of the words from one on.
        rows = len(self._slow)
        n = 1 + int(np.searchsorted(np.cumsum([found[word].held for word in rarest]), rows // BEGUN, "right"))
        scores = np.zeros(rows)
        few = max(4 * k, rows // WORTH)
        for i, word in enumerate(rarest, 1):
            self._add(scores, found[word], idf[word])
            if i < min(n, len(rarest)):
                continue
            if allowed is not None:
                scores[~allowed] = 0
            least = (_bar(scores, k) - reach[i]) * (1 - ROUNDING)
            if least > 0 or i == len(rarest):
                some = np.flatnonzero(scores >= least) if least > 0 else np.flatnonzero(scores)
                if len(some) <= few or i == len(rarest):
                    return some
        raise AssertionError("there is a last word")

    def _add(self, scores: np.ndarray, column: Column, idf: float) -> None:
        """Add what a word counts to the scores of all rows."""
        rows = column.rows
        slow = self._slow if rows is None else self._slow[rows]
        f = column.counts.astype(slow.dtype)
        added = f / (f + slow)
        added *= idf * (K1 + 1)
        if rows is None:
            scores += added
        else:
            scores[rows] += added

    def _idf(self, held: int) -> float:
        assert self._terms
        return max(SMALLEST_IDF, math.log((self._terms.count - held + 0.5) / (held + 0.5)))

    def _follow(self) -> Terms:
        """The index as of the last commit."""
        now = self._db.one(_VERSION) or ()
        if self._terms is None or now != self._version:
            before = self._terms if self._version and now[0] == self._version[0] else None
            kind = OlderTerms if is_older(self._db) else Terms
            self._version, self._terms = now, kind(self._db, before)
            lengths = self._terms.lengths
            mean = int(lengths[self._terms.alive].sum()) / max(1, self._terms.count)
            self._slow = K1 * (1 - B + B * lengths / (mean or 1))
        return self._terms


def _bar(scores: np.ndarray, k: int) -> float:
    """The `k`-th highest score, or 0 if there are fewer."""
    import numpy as np

    if len(scores) <= k:
        return 0.0
    lines = len(scores) // LINE
    if lines > k:
        highest = scores[: lines * LINE].reshape(lines, LINE).max(axis=1)
        scores = scores[scores >= np.partition(highest, lines - k)[lines - k]]
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])
