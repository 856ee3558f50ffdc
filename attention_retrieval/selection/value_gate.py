"""Dynamic Mask Attention's gate: a row is worth what its values say, whatever is asked.

    worth of row j = A softplus(w . v_j)      v_j the row's values of all kv heads together; A and w of each kv head
    read             the `top_k` rows that are worth most

In the paper model and gate are trained together, A from 0 on, and the worth is added to logits besides. Here the model
stays as it is, so nothing is added; A (1 at first) and w are learned so that the softmax of worth is the attention that
later queries give a row (`probes/gates.py`). One number a row is kept. (J. Shi et al., "Trainable dynamic mask sparse
attention", 2025, arXiv 2508.02124)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fovea.attention_retrieval.index.state import damaged, part
from fovea.attention_retrieval.selection.blocks import Blocks
from fovea.attention_retrieval.selection.gated import PIECE, GatedSelection
from fovea.attention_retrieval.selection.reading import Chosen, RowsSelected
from fovea.attention_retrieval.selection.selection import Queries
from fovea.attention_retrieval.vectors import Vectors


class ValueGateSelection(GatedSelection, name="value_gate"):
    """The rows whose values are worth most, of each kv head; `size` is of blocks that stand for the others."""

    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> ValueGateSelected:
        """O(rows heads d)."""
        made = ValueGateSelected(self, keys, values, start)
        made.insert(stop)
        return made

    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> ValueGateSelected:
        """With the worth of its rows."""
        made = ValueGateSelected(self, keys, values, start)
        if part(state, "rows", np.int64, (2,)).tolist() != [start, stop]:
            raise damaged(f"part 'rows' is not of rows {start} to {stop}")
        made.stop, made.worth = stop, part(state, "worth", np.float32, (keys.heads, stop - start))
        if made.blocks:
            made.blocks.extend(stop)
        return made


class ValueGateSelected(RowsSelected):
    """The worth of each row, (kv heads, rows)."""

    settings: ValueGateSelection

    def __init__(self, settings: ValueGateSelection, keys: Vectors, values: Vectors, start: int) -> None:
        super().__init__(settings, keys, values, (start, start), "the rows that are worth most by their values")
        self.weight, self.amplitude = settings.array("weight", keys), settings.array("amplitude", keys)
        self.blocks = Blocks(keys, values, start, size=settings.size, estimate=True) if settings.estimate else None
        self.worth = np.zeros((keys.heads, 0), np.float32)

    def choose(self, q: np.ndarray) -> Chosen:
        """The same rows whatever q is."""
        count = self.settings.top_k
        ids = self.start + np.sort(np.argpartition(-self.worth, count - 1, axis=1)[:, :count], axis=1)
        return Chosen(ids.astype(np.int32), -(-self.worth.shape[1] // self.keys.d), self.worth[0].nbytes)

    def insert(self, stop: int) -> None:
        """The worth of the rows that have come."""
        made = [self.worth]
        for at in range(self.stop, stop, PIECE):
            values = self.values.block(at, min(at + PIECE, stop)).transpose(1, 0, 2)
            raw = self.weight @ values.reshape(len(values), -1).T
            made.append((self.amplitude[:, None] * np.logaddexp(0, raw)).astype(np.float32))
        self.worth, self.stop = np.concatenate(made, axis=1), stop
        if self.blocks:
            self.blocks.extend(stop)

    def state(self) -> dict[str, np.ndarray]:
        """The worth, and of which rows."""
        return {"worth": self.worth, "rows": np.array([self.start, self.stop], np.int64)}
