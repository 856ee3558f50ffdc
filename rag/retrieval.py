"""Retriever, Fuser, Refiner: from a question to the passages worth reading."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from fovea.rag.component import Component
from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query


class Retriever(Component, kind="retriever"):
    """Fetches candidates from the corpus."""

    similarity: ClassVar[bool] = False
    """Whether scores are inner products of unit vectors of the corpus's encoder: in [-1, 1], one for every chunk."""
    filter_moves_scores: ClassVar[bool] = False
    """Whether a filter changes what is looked for, and not only what may be found."""
    situated_by: ClassVar[str] = ""
    """The situator, with the same weights and model, whose vectors of chunks it searches; "" where any will do."""

    def beside(self, store: Path, base: Path) -> Retriever:
        """The same, with what it keeps between questions in the folder `store`; relative paths start from `base`."""
        return self

    @abstractmethod
    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first, each chunk once."""


class Fuser(Component, kind="fuser"):
    """Joins the lists of several retrievers into one."""

    @abstractmethod
    def fuse(self, lists: Mapping[str, Sequence[Hit]], k: int, query: Query, corpus: Corpus) -> list[Hit]:
        """At most `k` hits, best first, each chunk once; the order of the lists does not matter.

        Lists are keyed by the name of their retriever, with `#2`, `#3` behind it where one is used several times.
        """


class Refiner(Component, kind="refiner"):
    """Re-orders, drops or cuts the hits: re-ranking, removal of near-duplicates, selection, budgets.

    `gives`, `needs` and `spoils` name properties of a list of hits ("token budget", "probabilities"), so that a chain
    that cannot work is refused before it runs.
    """

    gives: ClassVar[frozenset[str]] = frozenset()
    """What holds of the hits after this stage."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What must hold of the hits before it."""
    spoils: ClassVar[frozenset[str]] = frozenset()
    """What no longer holds after it, though it was asked for: a chain that undoes it is refused."""
    hides: ClassVar[frozenset[str]] = frozenset()
    """What later stages can no longer rely on, though nothing is wrong with that unless they need it."""

    @abstractmethod
    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """A new list of hits. What is dropped is said to the running stage: `trace.current().drop(hit, why)`."""
