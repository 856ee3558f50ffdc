"""What each head of a layer holds: keys, values, which tokens they are of, and what stands for those it has dropped."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fovea.attention_retrieval.cache.compensation import Compensation
from fovea.attention_retrieval.cache.evicted import Evicted
from fovea.attention_retrieval.ragged import left
from fovea.attention_retrieval.rounding import Dtype
from fovea.attention_retrieval.vectors import Vectors


class Held:
    """Rows of all heads; a token that comes goes to each of them, and each may drop others."""

    keys: Vectors
    values: Vectors
    evicted: Evicted | None
    """Where the rows stand; None where every head holds every token."""
    rest: Compensation | None
    """What stands for the rows that were dropped; None where nothing does."""
    lead: np.ndarray | None
    """Of heads that stream, the first rows, which stay, (heads,); None before any has dropped some."""

    def clear(self, heads: int, d: int, dtype: Dtype) -> None:
        """Hold nothing."""
        self.keys, self.values = Vectors(heads, d, dtype, "channel"), Vectors(heads, d, dtype)
        self.evicted, self.rest, self.lead = None, None, None

    def __len__(self) -> int:
        """Rows of the heads that hold most."""
        return len(self.keys)

    @property
    def tokens(self) -> int:
        """Rows, and what was dropped."""
        return self.evicted.length(int(self.keys.lengths[0])) if self.evicted else len(self)

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

    def drop(
        self, kept: Sequence[np.ndarray], compensates: bool, labels: np.ndarray | None = None, least: int = 0
    ) -> None:
        """Hold only the rows `kept` of each head, and those with one label and as many side by side; from then on the
        text can be cropped to `least` tokens at most.
        """
        tokens, rest = self.tokens, self.rest
        if compensates:
            rest = (rest or Compensation.none(self.keys.heads, self.keys.d)).taking(self.keys, self.values, kept)
        keys, values = left(self.keys, kept, labels), left(self.values, kept, labels)
        at = [self.evicted.positions(head, tokens) if self.evicted else np.arange(tokens) for head in range(len(kept))]
        least = max(least, self.evicted.whole_from if self.evicted else 0)
        evicted = Evicted.of(tokens, [each[mine] for each, mine in zip(at, kept)], least)
        self.keys, self.values, self.evicted, self.rest = keys, values, evicted, rest

    def can_crop(self, tokens: int) -> bool:
        """Whether all that the first `tokens` tokens were is still there, or nothing is wanted of them."""
        return not tokens or self.evicted is None or tokens >= self.evicted.whole_from

    @property
    def held_bytes(self) -> int:
        """Bytes of keys and values, and of what tells of those that were dropped."""
        told = sum(each.nbytes for each in (self.evicted, self.rest) if each is not None)
        return self.keys.nbytes + self.values.nbytes + told
