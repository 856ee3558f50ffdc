"""Positions closed up: the rows that a step reads stand behind one another, as if what it leaves out were not there.

    positions: text        key j where it was read, at p_j
    positions: remapped    key j at p_j + (rows between it and what is near that are not read), by R of `rotation.py`

Sinks move with them; what is near stays behind the last of them, and the query where it is. Only distances count, so
this is the published "contiguous positions from 0". While nothing is left out nothing moves. It pays beyond the window
that a model was trained for; within it the text's positions are the right ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np
from pydantic import FiniteFloat, model_validator

from fovea.attention_retrieval.partial import Partial, merge
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.selection.reading import ReadingSelection, RowsSelected

S = TypeVar("S", bound="MovingSelection")


class MovingSelection(ReadingSelection):
    """What these have in common."""

    positions: Literal["text", "remapped"] = "text"
    """Where a step reads keys: at the text's positions, or closed up, without the rows between that it leaves out."""

    turns: tuple[FiniteFloat, ...] | Literal["auto"] = "auto"
    """The model's rotary frequencies, radians a token, for `remapped`; `auto` takes those of the model itself."""

    interleaved: bool = False
    """Whether numbers 2j and 2j + 1 of a key turn together, or j and j + r/2; told with `turns`."""

    @model_validator(mode="after")
    def _places(self: S) -> S:
        if self.moves and self.estimate:
            raise ValueError("what stands for rows that are not read has no place of its own: positions: text")
        return self

    @property
    def moves(self) -> bool:
        """With `remapped`."""
        return self.positions == "remapped"

    @property
    def wants_rotation(self) -> bool:
        """With `remapped`, until it was told."""
        return self.moves and self.turns == "auto"

    def with_rotation(self: S, rotation: Rotation) -> S:
        """The same, told."""
        turns = tuple(rotation.frequencies.tolist())
        return self.model_copy(update={"turns": turns, "interleaved": rotation.interleaved})

    @property
    def rotation(self) -> Rotation:
        """The one that was told."""
        return Rotation(np.array(self.turns, np.float64), self.interleaved)

    @property
    def excludes(self) -> Mapping[str, str]:
        """With `remapped`."""
        if not self.moves:
            return {}
        return {
            "evict": "what it drops leaves gaps of its own, so positions: text",
            "watch": "it counts attention at the text's positions, so positions: text",
        }


class MovingSelected(RowsSelected):
    """Rows that are read where they stand, or closed up."""

    settings: MovingSelection

    def exact(self, q: np.ndarray, near: Partial, ids: np.ndarray) -> tuple[Partial, np.ndarray]:
        """Attention to `near` and the rows `ids`; closed up, to the sinks besides."""
        if not self.settings.moves:
            return super().exact(q, near, ids)
        parts, logits = [], np.full((*q.shape[:2], ids.shape[1]), -np.inf, np.float32)
        for head, mine in enumerate(ids):
            mine = mine[mine >= 0]
            known, part = self._closed_up(head, q[head], mine)
            logits[head, :, : len(mine)] = known[:, self.start :]
            parts.append(part)
        far = Partial(np.stack([part.out for part in parts]), np.stack([part.lse for part in parts]))
        return merge(near, far), logits

    def _closed_up(self, head: int, q: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, Partial]:
        """Logits of the sinks and of one head's rows, ascending, and attention to them."""
        rows = np.concatenate([np.arange(self.start), ids])
        gone = self.stop - self.start - len(ids)
        by = np.concatenate([np.full(self.start, gone), gone - (ids - self.start - np.arange(len(ids)))])
        keys = self.keys.head(head).take(rows)
        logits = q @ (self.settings.rotation.moved(keys, by) if gone else keys).T
        if not len(rows):
            return logits, Partial(np.zeros_like(q), np.full(len(q), -np.inf, np.float32))
        most = logits.max(axis=1, keepdims=True)
        weights = np.exp(logits - most)
        total = weights.sum(axis=1, keepdims=True)
        return logits, Partial(weights @ self.values.head(head).take(rows) / total, (most + np.log(total))[:, 0])
