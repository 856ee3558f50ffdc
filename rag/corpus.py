"""Corpus: what a retriever, refiner or generator may ask of the ingested library. `VectorStore`: an index over it.

SQLite holds the truth (documents, chunks, vectors, status); every vector store is an index that follows it and can be
rebuilt from it. Rows are named by `no`, an integer given once and never reused.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from fovea.rag.component import Component
from fovea.rag.encoder import Encoder
from fovea.rag.filters import Filter
from fovea.rag.types import Chunk, Document, Hit, Scalar

if TYPE_CHECKING:
    import numpy as np


class Corpus(Protocol):
    """The ingested documents, ready to be searched."""

    @property
    def encoder(self) -> Encoder:
        """The encoder whose vectors the corpus holds."""

    def embed(self, text: str) -> np.ndarray:
        """The query vector `(dim,)` of a question; remembered, so that several stages share it."""

    def nearest(self, vector: np.ndarray, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest inner product with `vector`, best first."""

    def match(self, text: str, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest BM25 score for the words of `text`, best first."""

    def matched(
        self, text: str, k: int, where: Filter | None = None, rare: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The BM25 scores `(n,)` of the `n <= k` chunks that `match` finds, best first, and their stored vectors
        `(n, dim)`, both float32; no chunk is read. Where `rare` is under 1, for the `uncommon` words of `text` alone:
        a fraction of the work.
        """

    def rarity(self, words: Sequence[str]) -> dict[str, float]:
        """`rarity_of` each word (as `fovea.rag.tokens.words` gives them), by word, in the order given."""

    def vectors(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """The stored vectors of chunks, float32 `(chunks, dim)`; raises QueryError for a chunk it does not hold."""

    def situations(self, chunks: Sequence[Chunk]) -> list[str]:
        """What is said of the place of each chunk, "" for nothing: words by which `match` finds it beside its own."""

    def document(self, document_id: str) -> Document:
        """A whole document; raises QueryError for an unknown id."""

    def document_sources(self) -> Iterator[tuple[str, str]]:
        """The id and the source of every document, in the order in which they were added."""

    def neighbours(self, chunk: Chunk, before: int, after: int) -> list[Chunk]:
        """The chunks around `chunk` in its document, itself included, in order; QueryError for one it does not hold."""

    @property
    def spread(self) -> float:
        """How far inner products of the chunks' vectors lie apart by chance: `spread_of` a fixed sample of them."""

    @property
    def version(self) -> str:
        """Changes whenever the chunks do: what a static index made of `chunks` was made from."""

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, one at a time, in the order in which they were added."""


def rarity_of(chunks: int, holding: int) -> float:
    """How much it says that a chunk holds a word that `holding` of all `chunks` hold: `ln((chunks + 1) / (holding +
    1))`, and a little for a word that all of them hold.
    """
    return max(0.01, math.log((chunks + 1) / (holding + 1)))


def uncommon(holding: Mapping[str, int], chunks: int, share: float) -> list[str]:
    """The words that no more than `share` of all `chunks` hold, by how many hold each; or else the rarest of them."""
    held = {word: n for word, n in holding.items() if n}
    return [word for word, n in held.items() if n <= share * chunks] or sorted(held, key=lambda word: held[word])[:1]


SPREAD_SAMPLE = 256
"""How many chunks, evenly spaced over the corpus, `Corpus.spread` looks at."""


def spread_of(vectors: np.ndarray) -> float:
    """Standard deviation of the inner products of different rows of `vectors` `(n, dim)`: the unit in which one tells
    whether a similarity is large. Never under `1 / sqrt(dim)`, the value for unit vectors of random direction. O(n^2).
    """
    import numpy as np

    n, dim = vectors.shape
    products = (vectors @ vectors.T)[np.triu_indices(n, 1)]
    return max(float(products.std()) if len(products) else 0.0, dim**-0.5)


@dataclass(frozen=True, slots=True)
class Rows:
    """A batch of chunks as an index sees them: `nos` int64 `(n,)`, `vectors` float32 `(n, dim)`, unit length, and the
    fields that filters see (`Chunk.fields`).
    """

    nos: np.ndarray
    vectors: np.ndarray
    metadata: Sequence[Mapping[str, Scalar]]


class Truth(Protocol):
    """What a vector store may ask of the library it follows."""

    @property
    def uuid(self) -> str:
        """Names this library; an index built from another is rebuilt."""

    @property
    def sequence(self) -> int:
        """Rises with every committed change."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def count(self) -> int:
        """How many chunks there are."""

    def added(self, since: int, batch: int = 4096) -> Iterator[Rows]:
        """The chunks that are there now and were added after sequence number `since`, in order of `no`."""

    def removed(self, since: int) -> np.ndarray:
        """The `no` of every chunk removed after sequence number `since`."""

    def matching(self, where: Filter) -> np.ndarray:
        """The `no` of every chunk whose metadata match, int64, rising."""


class VectorIndex(Protocol):
    """An open vector store. Not for several threads at once unless it says so."""

    def sync(self) -> int:
        """Bring the index up to the library's last sequence number; returns how many rows were written."""

    def search(self, vector: np.ndarray, k: int, where: Filter | None = None) -> list[tuple[int, float]]:
        """The `(no, inner product)` of the `k` nearest chunks, best first; equal scores by rising `no`."""

    def check(self) -> list[str]:
        """What is wrong with the index files, in sentences; empty when all is well."""

    def rebuild(self) -> None:
        """Throw the index away and make it anew from the library."""

    def describe(self) -> dict[str, Scalar]:
        """What it is and how large: back-end, index type, rows, bytes."""

    def close(self) -> None:
        """Let go of files and connections."""


class VectorStore(Component, kind="store"):
    """Settings of a vector store; `open` gives the index. The library (SQLite) lies in `path` too."""

    folder: ClassVar[str] = ""
    """What it calls the folder in `path` that it writes to, if it writes files."""

    path: Path = Path(".fovea/store")
    """The folder of the store."""

    @property
    def shared(self) -> bool:
        """Whether one index may be read while another of the same process writes; else readers wait."""
        return False

    @abstractmethod
    def open(self, truth: Truth, *, read_only: bool = False) -> VectorIndex:
        """Open the index that follows `truth`."""
