"""BM25 over a static index in memory: other variants and stemming, at the price of building it anew after a change."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field, PositiveFloat

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import ConfigError, require
from fovea.rag.filters import matches
from fovea.rag.retrieval import Retriever
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.types import Chunk, Hit, Query

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np


class Index(NamedTuple):
    """A built index, the chunks in its order, and the version of the corpus it was made from."""

    version: str
    chunks: list[Chunk]
    bm25: Any


class BM25SRetriever(Retriever, name="bm25s"):
    """BM25 by the library bm25s (Lù, 2024, "BM25S"), which scores every term of every chunk when it builds.

    Terms are those of `bm25` (`fovea.rag.terms`), stemmed where a stemmer is set. Of N chunks of which n hold a term,
    its idf is `ln(1 + (N - n + 1/2) / (n + 1/2))` ("lucene", over 0 even if every chunk holds it), `ln(N / n)`
    ("atire", 0 if every chunk holds it) or `max(0, ln((N - n + 1/2) / (n + 1/2)))` ("robertson", 0 from half of the
    chunks on). A chunk that holds only terms of idf 0 does not come back.

    Holds all chunks in memory and is rebuilt on the first question after a change: O(words of the corpus). Words that
    are said of a chunk's place count as its own.
    """

    method: Literal["robertson", "lucene", "atire"] = "lucene"
    """The variant, by the names of Kamphuis et al. (2020). `robertson` ranks as `bm25` does, but for terms that half of
    the chunks hold or more: those it leaves out, where `bm25` still finds by them."""
    k1: PositiveFloat = 1.2
    """How slowly a word's repetition stops counting."""
    b: float = Field(default=0.75, ge=0, le=1)
    """How much a long chunk is held back: 0 not at all, 1 in full."""
    stemmer: str | None = None
    """A Snowball stemmer of PyStemmer, such as `english`."""

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits with a score over 0, best first; equal scores in the order of the corpus."""
        import numpy as np

        index = self._index(corpus)
        if not index.chunks or not (asked := self._known(index, query.text)):
            return []
        scores: np.ndarray = index.bm25.get_scores(asked)
        if query.where is not None:
            scores = scores * [matches(query.where, c.fields) for c in index.chunks]
        order = np.argsort(-scores, kind="stable")[:k]
        return [Hit(index.chunks[i], s).scored("bm25s", s) for i in order if (s := float(scores[i])) > 0]

    def _known(self, index: Index, text: str) -> list[str]:
        """The distinct terms of `text` that the corpus has."""
        return [w for w in dict.fromkeys(self._stem(query_terms(text))) if w in index.bm25.vocab_dict]

    @cached_property
    def _stem(self) -> Callable[[list[str]], list[str]]:
        if self.stemmer is None:
            return list
        stemmer = require("Stemmer", extra="bm25s", needed_by="bm25s")
        if self.stemmer not in (known := stemmer.algorithms()):
            raise ConfigError(f"bm25s: there is no stemmer {self.stemmer!r}", got=self.stemmer, allowed=known)
        return stemmer.Stemmer(self.stemmer).stemWords

    @cached_property
    def _built(self) -> dict[str, Index]:
        return {}

    @cached_property
    def _lock(self) -> threading.Lock:
        return threading.Lock()

    def _index(self, corpus: Corpus) -> Index:
        with self._lock:
            if (version := corpus.version) not in self._built:
                self._built.clear()
                self._built[version] = self._build(version, corpus)
            return self._built[version]

    def _build(self, version: str, corpus: Corpus) -> Index:
        bm25s = require("bm25s", extra="bm25s", needed_by="bm25s")
        chunks = list(corpus.chunks())
        bm25 = bm25s.BM25(method=self.method, k1=self.k1, b=self.b)
        said = corpus.situations(chunks)
        if any(found := [self._stem(index_terms(f"{place}\n{c.text}")) for place, c in zip(said, chunks)]):
            bm25.index(found, show_progress=False)
        else:
            chunks = []
        trace.current().count(indexed=len(chunks))
        return Index(version, chunks, bm25)
