"""StreamingLLM: the first tokens and the last ones.

    kept = the first `sinks` rows, and the last `window` ones; again every `insert_every` tokens of an answer

Softmax must put its mass somewhere, and models learn to put it on the first tokens; without these the answer falls
apart. All between is forgotten. The release moves rotations so that positions count within what is kept; here rows
stand at the positions of the text, which is the same up to the length that a model was trained at.
`attention: {use: streaming}` reads the same rows and drops none.
(Xiao et al., "Efficient streaming language models with attention sinks", 2023, arXiv 2309.17453)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import NonNegativeInt, PositiveInt

from fovea.attention_retrieval.eviction.eviction import Eviction
from fovea.attention_retrieval.vectors import Vectors


class Streaming(Eviction, name="streaming"):
    """Sinks and a window."""

    sinks: NonNegativeInt = 4
    """The first tokens, which stay."""

    window: PositiveInt = 2000
    """The last tokens, which stay; an answer adds up to `insert_every` before it is cut again."""

    @property
    def again(self) -> bool:
        """It streams."""
        return True

    def kept(
        self, keys: Vectors, values: Vectors, queries: np.ndarray | None, budgets: np.ndarray | None = None
    ) -> Sequence[np.ndarray] | None:
        """O(rows that stay)."""
        return ends(keys.lengths, self.sinks, self.window)


def ends(lengths: np.ndarray, sinks: int, window: int) -> Sequence[np.ndarray] | None:
    """The first `sinks` and the last `window` of so many rows of each head; None where that is all of them."""
    if (lengths <= sinks + window).all():
        return None
    return [np.r_[: min(sinks, rows), max(rows - window, min(sinks, rows)) : rows] for rows in lengths.tolist()]
