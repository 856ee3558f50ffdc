"""Selection: what a decoded token reads of a layer's indexed rows, all kv heads in one call.

    selected = selection.over(keys, values, start=128, stop=32_000, queries=None, seed=0)
    part = selected.attend(q, near)         # q (heads, queries, d), times the scaling; `near` is merged in
    selected.insert(33_000)                 # rows 32,000 to 33,000 have come
    arrays = selected.state(); selected = selection.restore(keys, values, arrays, start=128, stop=33_000)

A selection answers for every row from `start` to `stop`: what it does not read it estimates, or leaves out on purpose.
Rows are not copied: they stay in the cache's slabs.
"""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.index.engine import Found
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.rotation import Rotation
from fovea.attention_retrieval.vectors import Vectors
from fovea.rag.component import Component


class Queries(NamedTuple):
    """The prompt's queries, those that were kept."""

    of: Callable[[int], np.ndarray | None]
    """Those of a kv head's group, (tokens * queries, d), times the scaling, token by token; None for none."""
    rows: Callable[[int], np.ndarray]
    """The row of a kv head that each of these tokens stands at, (tokens,)."""

    def __call__(self, head: int) -> np.ndarray | None:
        """`of`."""
        return self.of(head)


class Read(NamedTuple):
    """What a step was."""

    part: Partial
    """Of all rows and what was near: (heads, queries, d) and (heads, queries)."""
    rows: np.ndarray
    """Rows of full width that each head read, centroids too, (heads,)."""
    bytes: np.ndarray
    """Bytes that each head read, (heads,)."""
    seconds: np.ndarray | None = None
    """Of them, what each head took to find rows, (heads,); None where finding and attending are one."""
    found: Sequence[Found] = ()
    """By head, the rows that were attended to, with logits without any bias, where all others stand for no token."""
    recalls: Mapping[int, float] = MappingProxyType({})
    """By head, the share of the best rows that were found, where that was tried."""


class Selected(ABC):
    """The state over one layer's rows [start, stop)."""

    start: int
    stop: int
    reader: str
    """What reads, for a report."""
    why: str
    """Why that does, in a sentence."""
    now: int = 0
    """The row of the token that asks; the cache says it before each step."""
    leader: weakref.ref[Selected] | None = None
    """The state of the layer whose choice this one takes over, of the same sequence; the cache says it likewise."""

    @abstractmethod
    def attend(self, q: np.ndarray, near: Partial) -> Read:
        """Attention of q (heads, queries, d) to all its rows, merged with `near`, what was attended to elsewhere."""

    def reread(self, q: np.ndarray, near: Partial, ids: np.ndarray) -> Read:
        """The same by rows that a step before found, `ids` (heads, n) int32, -1 is nobody: nothing is searched for.

        Only where the selection `finds`.
        """
        raise NotImplementedError(f"{type(self).__name__} finds no rows")

    def anew(self) -> None:
        """Steps so far are no part of what comes: a prompt follows, or the text was cut back. By default nothing."""
        return

    @abstractmethod
    def insert(self, stop: int) -> None:
        """Take in the rows from `self.stop` to `stop`. After what fails, the state is used no more."""

    @abstractmethod
    def state(self) -> dict[str, np.ndarray]:
        """Everything besides keys and values, as arrays."""

    @property
    def nbytes(self) -> int:
        """Bytes beside keys and values, of all heads."""
        return sum(array.nbytes for array in self.state().values())


class Selection(Component, kind="selection"):
    """Makes the state of a layer. Built-ins live in `attention_retrieval/selection/`, one file each."""

    @property
    def finds(self) -> bool:
        """Whether a step's `Read.found` names what it read, and `reread` reads such rows again."""
        return False

    @property
    def needs_queries(self) -> bool:
        """Whether `over` learns from the prompt's queries: then the cache keeps a sample of them."""
        return False

    @property
    def run(self) -> int:
        """How many layers that follow each other read what the first of them chooses."""
        return 1

    @property
    def excludes(self) -> Mapping[str, str]:
        """Other settings of the cache that it cannot stand beside, and why."""
        return {}

    @property
    def moves(self) -> bool:
        """Whether it moves keys: then a step reads the rows before `start` as well, and `near` is without them."""
        return False

    @property
    def wants_rotation(self) -> bool:
        """Whether it moves keys and has not been told how the model turns them."""
        return False

    def with_rotation(self, rotation: Rotation) -> Selection:
        """The same, for a model that turns its keys so."""
        return self

    def in_layer(self, layer: int) -> Selection:
        """The same, for a layer of the model, from 0: where what was learned differs by layer."""
        return self

    def check(self, layers: int, query_heads: int, kv_heads: int) -> None:
        """Raise ConfigError where it was learned on a model of another shape."""
        return

    def check_model(self, model: str, identity: Callable[[str], str]) -> None:
        """Raise ConfigError where it was learned on another model than `model`, by what identifies that."""
        return

    @abstractmethod
    def over(
        self, keys: Vectors, values: Vectors, start: int, stop: int, *, queries: Queries | None = None, seed: int = 0
    ) -> Selected:
        """The state over rows [start, stop). The same arguments make the same state."""

    @abstractmethod
    def restore(
        self, keys: Vectors, values: Vectors, state: Mapping[str, np.ndarray], start: int, stop: int
    ) -> Selected:
        """The state that gave `state`, over the same rows; raises StoreError where it is not one of these rows."""
