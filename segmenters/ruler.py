"""Ruler: how many tokens lie between two places of a text, estimated at once or counted exactly.

Counts are not additive: a byte-level tokenizer reads `a b` otherwise than `a` and then `b`. One pass of the tokenizer
over the text gives estimates for every range; what decides is always the count of the final slice.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from fovea.rag.encoder import Tokenizer

if TYPE_CHECKING:
    import numpy as np

BLOCK = 16_384
"""Characters tokenized at a time: bounded memory, and faster than one long text."""


class Ruler:
    """Measures ranges of one text in tokens of one tokenizer."""

    def __init__(self, text: str, tokenizer: Tokenizer) -> None:
        self.text, self.tokenizer = text, tokenizer
        self._counted: dict[tuple[int, int], int] = {}

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each token ends: int64 `(tokens,)`, never falling."""
        import numpy as np

        ends, start = [np.zeros(0, np.int64)], 0
        while start < len(self.text):
            stop = self._block_end(start)
            ends.append(self.tokenizer.offsets(self.text[start:stop])[:, 1] + start)
            start = stop
        return np.maximum.accumulate(np.concatenate(ends))

    def _block_end(self, start: int) -> int:
        """A place to stop tokenizing for now: at a line or word end if there is one."""
        limit = start + BLOCK
        if limit >= len(self.text):
            return len(self.text)
        line = self.text.rfind("\n", start + 1, limit)
        return line if line > 0 else max(self.text.rfind(" ", start + 1, limit), 0) or limit

    def before(self, places: list[int]) -> np.ndarray:
        """How many tokens end at or before each place: int64 `(places,)`; differences are estimated counts."""
        import numpy as np

        return np.searchsorted(self.ends, np.asarray(places, np.int64), side="right")

    def back(self, place: int, tokens: int) -> int:
        """The place that lies about `tokens` tokens before `place`."""
        index = int(self.before([place])[0]) - tokens
        return int(self.ends[index - 1]) if index > 0 else 0

    def count(self, start: int, end: int) -> int:
        """The tokens of `text[start:end]` without surrounding white space, by the tokenizer itself."""
        key = start, end
        if key not in self._counted:
            self._counted[key] = self.tokenizer.count(self.text[start:end].strip())
        return self._counted[key]
