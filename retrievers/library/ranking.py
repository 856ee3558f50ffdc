"""The chunks of highest BM25 score.

What a word adds to the score of each chunk is remembered in single precision until the library changes, so that all
chunks are scored by adding columns of numbers (as bm25s does: Lù, 2024). Those whose sums come as near to the best as
rounding may have moved them are scored again in double precision, in the order in which FTS5 adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.rag.corpus import uncommon
from fovea.retrievers.library.database import Database
from fovea.retrievers.library.older import OlderTerms, is_older
from fovea.retrievers.library.terms import K1, Terms

if TYPE_CHECKING:
    import numpy as np

LINE = 64
"""Rows of which only the highest score is looked at for the bar."""
ROUNDING = 2**-24
"""The largest relative error of one number in single precision."""

Pairs = list[tuple[int, float]]
_VERSION = """SELECT (SELECT value FROM meta WHERE name = 'uuid'), (SELECT value FROM meta WHERE name = 'sequence'),
    (SELECT seq FROM sqlite_sequence WHERE name = 'segments'), user_version FROM pragma_user_version"""


class Ranking:
    """BM25 over the lexical index. Its caller holds a snapshot: what is counted and scored must be of one commit."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._version: tuple[object, ...] = ()
        self._terms: Terms | None = None

    def best(self, asked: Sequence[str], k: int, inside: np.ndarray | None = None) -> Pairs:
        """The `(no, score)` of the `k` best chunks that hold any of the words and are `inside` (`no`, rising).

        `sum over words of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))` with k1 1.2, b 0.75 and
        `idf = max(1e-6, ln((N - n + 1/2) / (n + 1/2)))`; equal scores by rising `no`. O(postings of the words +
        chunks).
        """
        import numpy as np

        terms = self._follow()
        known = terms.columns(asked)
        found = [known[word] for word in asked if known[word].held]
        if not found or k < 1:
            return []
        nearly = np.zeros(len(terms.nos), np.float32)
        for column in found:
            column.add(nearly)
        if inside is not None:
            nearly[~np.isin(terms.nos, inside, assume_unique=True)] = 0
        least = _bar(nearly, k) * (1 - 4 * (len(found) + 2) * ROUNDING)
        some = np.flatnonzero(nearly >= least) if least > 0 else np.flatnonzero(nearly)
        scores, slow = np.zeros(len(some)), terms.slow[some]
        for column in found:
            f = column.at(some)
            scores += terms.idf(column.held) * (f * (K1 + 1) / (f + slow))
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

    def _follow(self) -> Terms:
        """The index as of the last commit."""
        now = self._db.one(_VERSION) or ()
        if self._terms is None or now != self._version:
            before = self._terms if self._version and now[0] == self._version[0] else None
            kind = OlderTerms if is_older(self._db) else Terms
            self._version, self._terms = now, kind(self._db, before)
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
