"""LibraryCorpus: the library and an index over it, as retrievers, refiners and generators see them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from fovea.rag.corpus import SPREAD_SAMPLE, VectorIndex, rarity_of, spread_of
from fovea.rag.encoder import Encoder
from fovea.rag.errors import QueryError
from fovea.rag.filters import All, Filter
from fovea.rag.types import Chunk, Document, Hit
from fovea.retrievers.library.library import Library

if TYPE_CHECKING:
    import numpy as np

REMEMBERED = 64
"""Questions whose vectors, and lists of chunks that share their words, are kept."""
MATCHED = 100
"""Numbers of chunks a lexical search fetches at least: later stages want more of them than the first (the re-ranker
most), and they cost hardly more. Chunks are read for those that are asked for alone.
"""
READ = 4096
"""Chunks kept for the next question, and for the next retriever of this one."""


class LibraryCorpus:
    """The ingested documents, ready to be searched, by several threads if need be."""

    def __init__(self, library: Library, index: VectorIndex, encoder: Encoder) -> None:
        self.library, self.index, self.encoder = library, index, encoder
        self._embedded: OrderedDict[str, np.ndarray] = OrderedDict()
        self._matched: OrderedDict[tuple[str, str, str], tuple[int, list[tuple[int, float]]]] = OrderedDict()
        self._spread = "", 0.0
        self._fields: tuple[str, dict[str, set[str]]] = "", {}
        self._fields_in: OrderedDict[tuple[str, str], dict[str, set[str]]] = OrderedDict()
        self._situators: tuple[str, dict[str, int]] = "", {}
        self._read: tuple[str, dict[int, Chunk]] = "", {}
        self._lock = threading.RLock()

    @property
    def version(self) -> str:
        """Changes whenever the chunks do."""
        return f"{self.library.uuid}-{self.library.sequence}"

    @property
    def spread(self) -> float:
        """`spread_of` chunks evenly spaced over the library; kept until the library changes."""
        version = self.version
        if self._spread[0] != version:
            nos = self.library.matching(All(()))
            sample = nos[:: max(1, -(-len(nos) // SPREAD_SAMPLE))]
            self._spread = version, spread_of(self.library.vectors_of(sample.tolist()))
        return self._spread[1]

    @property
    def situators(self) -> dict[str, int]:
        """How many chunks each situator has made the vectors of, by its name; kept until the library changes."""
        version = self.version
        if self._situators[0] != version:
            self._situators = version, self.library.situators()
        return self._situators[1]

    @property
    def fields(self) -> dict[str, set[str]]:
        """The fields that filters can name, with the kinds of their values; kept until the library changes."""
        version = self.version
        if self._fields[0] != version:
            self._fields = version, self.library.fields()
        return self._fields[1]

    def fields_in(self, scope: Filter) -> dict[str, set[str]]:
        """The same of the documents that match `scope`; the last are kept until the library changes."""
        key = (self.version, repr(scope))
        with self._lock:
            if (found := self._fields_in.get(key)) is not None:
                return found
        found = self.library.fields(scope)
        with self._lock:
            self._fields_in[key] = found
            while len(self._fields_in) > REMEMBERED:
                self._fields_in.popitem(last=False)
        return found

    def embed(self, text: str) -> np.ndarray:
        """The query vector `(dim,)` of a question; the last ones are remembered."""
        with self._lock:
            if text in self._embedded:
                self._embedded.move_to_end(text)
                return self._embedded[text]
        vector = self.encoder.encode([text], role="query")[0]
        vector.setflags(write=False)
        with self._lock:
            self._embedded[text] = vector
            while len(self._embedded) > REMEMBERED:
                self._embedded.popitem(last=False)
        return vector

    def nearest(self, vector: np.ndarray, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest inner product with `vector`, best first."""

        def search() -> list[tuple[int, float]]:
            with self._lock:  # An index need not be safe for several threads.
                return self.index.search(vector, k, where)

        return self._hits(search)

    def match(self, text: str, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest BM25 score for the words of `text`, best first; the last lists are remembered, so
        that several stages of one question share them.
        """
        return self._hits(lambda: self._match(text, k, where))

    def matched(
        self, text: str, k: int, where: Filter | None = None, rare: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scores and the vectors of what `match` finds, or would for the uncommon words alone; no chunk is read."""
        import numpy as np

        with self._lock, self.library.snapshot():
            found = self._match(text, k, where) if rare >= 1 else self.library.match_uncommon(text, k, rare, where)
            vectors = self.library.vectors_of([no for no, _ in found])
        return np.array([score for _, score in found], np.float32), vectors

    def _match(self, text: str, k: int, where: Filter | None) -> list[tuple[int, float]]:
        key = (self.version, text, repr(where))
        with self._lock:
            depth, found = self._matched.get(key, (0, []))
        if depth < k:
            depth = max(k, MATCHED)
            found = self.library.match(text, depth, where)
            with self._lock:
                self._matched[key] = depth, found
                while len(self._matched) > REMEMBERED:
                    self._matched.popitem(last=False)
        return found[:k]

    def rarity(self, words: Sequence[str]) -> dict[str, float]:
        """How much each word says of a chunk that holds it."""
        chunks, holding = self.library.holding(words)
        return {word: rarity_of(chunks, holding[word]) for word in words}

    def vectors(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """The stored vectors of chunks, float32 `(chunks, dim)`; raises QueryError for one that is not there."""
        nos = self.library.no_of([c.id for c in chunks])
        if lacking := next((c for c in chunks if c.id not in nos), None):
            raise QueryError(f"the library has no chunk {lacking.where}", fix="ask again: its document has changed")
        return self.library.vectors_of([nos[c.id] for c in chunks])

    def situations(self, chunks: Sequence[Chunk]) -> list[str]:
        """What is said of the place of each chunk, "" for nothing."""
        nos = self.library.no_of([c.id for c in chunks])
        said = self.library.situations(list(nos.values()))
        return [said.get(nos.get(c.id, 0), "") for c in chunks]

    def document(self, document_id: str) -> Document:
        """A whole document; raises QueryError for an unknown id."""
        return self.library.document(document_id)

    def document_sources(self) -> Iterator[tuple[str, str]]:
        """The id and the source of every document."""
        return self.library.document_sources()

    def neighbours(self, chunk: Chunk, before: int, after: int) -> list[Chunk]:
        """The chunks around `chunk` in its document, itself included, in order."""
        return self.library.neighbours(chunk, before, after)

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, one at a time, in the order in which they were added."""
        return self.library.chunks()

    def _chunks(self, nos: Sequence[int]) -> dict[int, Chunk]:
        """Chunks by number, those read lately from memory; a number never names another chunk, but it may go."""
        version = self.version
        with self._lock:
            if self._read[0] != version or len(self._read[1]) > READ:
                self._read = version, {}
            known = self._read[1]
            found = {no: known[no] for no in nos if no in known}
        new = self.library.chunk_by_no([no for no in nos if no not in found])
        with self._lock:
            known.update(new)
        return {**found, **new}

    def _hits(self, search: Callable[[], list[tuple[int, float]]]) -> list[Hit]:
        """Found numbers with their chunks. Where chunks went meanwhile, both are done again as of one commit."""
        found = search()
        chunks = self._chunks([no for no, _ in found])
        if len(chunks) < len(found):
            # Only now, since a snapshot makes other threads wait for the whole search.
            with self._lock, self.library.snapshot():
                found = search()
                chunks = self._chunks([no for no, _ in found])
        return [Hit(chunks[no], score) for no, score in found if no in chunks]
