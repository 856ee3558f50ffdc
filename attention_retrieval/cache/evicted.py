"""Where the rows of a text stand of which some have been dropped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Evicted(NamedTuple):
    """Each head holds the tokens `at`, and all from `since` on."""

    at: tuple[np.ndarray, ...]
    """By head, the tokens before `since` that are left, (rows,) int32, ascending."""
    since: np.ndarray
    """(kv heads,) int64."""
    whole_from: int
    """The length down to which the text can be cropped, with all there that each head held then."""

    @classmethod
    def of(cls, tokens: int, positions: Sequence[np.ndarray], least: int = 0) -> Evicted:
        """A text of `tokens`, of which each head holds `positions` (rows,), ascending; it can be cropped to `least` at
        most.
        """
        at, since = [], []
        for mine in positions:
            whole = mine == np.arange(tokens - len(mine), tokens)
            few = len(mine) - int(np.argmin(whole[::-1])) if not whole.all() else 0
            at.append(mine[:few].astype(np.int32))
            since.append(tokens - len(mine) + few)
        return cls(tuple(at), np.array(since, np.int64), max(least, *since))

    def length(self, rows: int) -> int:
        """How long the text is whose first head holds `rows` rows."""
        return rows - len(self.at[0]) + int(self.since[0])

    def positions(self, head: int, tokens: int) -> np.ndarray:
        """The token that each row of a head is, of a text that has grown to `tokens`: (rows,) int64."""
        return np.concatenate([self.at[head].astype(np.int64), np.arange(self.since[head], tokens)])

    @property
    def nbytes(self) -> int:
        """Bytes of the numbers of tokens."""
        return sum(at.nbytes for at in self.at)
