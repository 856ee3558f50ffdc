"""What a stage once gave, and how long it took: looked up where a cache is in force.

    if cache := stage_cache.current():
        return cache.hits("retrieve", retriever.fingerprint, query, corpus, compute, k=50)

A cache gives exactly what was computed, notes and warnings included,
and charges the running stages the seconds it took then, so that times mean the same with it and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query

if TYPE_CHECKING:
    import numpy as np


class StageCache(Protocol):
    """What may be in force."""

    def hits(
        self, stage: str, maker: str, query: Query, corpus: Corpus, compute: Callable[[], list[Hit]], **given: Any
    ) -> list[Hit]:
        """The hits that the component of fingerprint `maker` makes of a query, of this corpus, and of `given`."""

    def pieces(
        self, maker: str, query: Query, hits: Sequence[Hit], compute: Callable[[], Iterator[str]]
    ) -> Iterator[str]:
        """The pieces of an answer that the generator of fingerprint `maker` writes from hits."""

    def scores(
        self, maker: str, question: str, texts: Sequence[str], compute: Callable[[Sequence[str]], np.ndarray]
    ) -> np.ndarray:
        """One score a text, `(texts,)`, each a function of `maker`, the question and that text alone."""


_current: ContextVar[StageCache | None] = ContextVar("fovea_stage_cache", default=None)


def current() -> StageCache | None:
    """The cache in force, if one is."""
    return _current.get()


@contextmanager
def using(cache: StageCache) -> Iterator[StageCache]:
    """Put a cache in force inside the block."""
    token = _current.set(cache)
    try:
        yield cache
    finally:
        _current.reset(token)
