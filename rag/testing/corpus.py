"""MemoryCorpus: a small exact corpus in memory, for tests of retrievers, fusers, refiners and generators.

    corpus = MemoryCorpus.of({"moon": "It orbits the Earth.", "tea": "Brewed at 80 degrees."}, encoder)
    corpus.match("what orbits the earth", k=1)

Nothing here is approximate or made up: inner products are computed over all vectors, and BM25 is SQLite FTS5's, to the
last bit of its formula. It holds everything in memory and scans it: for thousands of chunks, not for millions.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from fovea.rag.component import fingerprint
from fovea.rag.corpus import SPREAD_SAMPLE, rarity_of, spread_of, uncommon
from fovea.rag.encoder import Encoder
from fovea.rag.errors import QueryError
from fovea.rag.filters import Filter, matches
from fovea.rag.terms import index_terms, query_terms
from fovea.rag.types import Chunk, Document, Hit, Span

K1, B, SMALLEST_IDF = 1.2, 0.75, 1e-6
"""The constants of FTS5's `bm25()`."""


class MemoryCorpus:
    """The `fovea.rag.corpus.Corpus` protocol over lists: documents, their chunks, and one encoder."""

    def __init__(
        self,
        documents: Iterable[Document],
        chunks: Iterable[Chunk],
        encoder: Encoder,
        *,
        vectors: np.ndarray | None = None,
        situations: Sequence[str] | None = None,
    ) -> None:
        """`vectors`, where they are not what the encoder makes of the chunks' texts; `situations`, what is said of the
        place of each chunk: words by which `match` finds it too.
        """
        self.encoder = encoder
        self._documents = {d.id: d for d in documents}
        self._chunks = list(chunks)
        self._asked: dict[str, np.ndarray] = {}
        self._no = {c.id: no for no, c in enumerate(self._chunks)}
        texts = [c.text for c in self._chunks]
        if vectors is None:
            vectors = encoder.encode(texts) if texts else np.zeros((0, encoder.dim), np.float32)
        self._vectors = vectors
        self._said = list(situations or [""] * len(texts))
        self._lengths: list[int] = []
        self._postings: dict[str, dict[int, int]] = defaultdict(dict)
        for no, (said, text) in enumerate(zip(self._said, texts, strict=True)):
            self._lengths.append(len(found := index_terms(f"{said}\n{text}")))
            for word, count in Counter(found).items():
                self._postings[word][no] = count

    @classmethod
    def of(cls, texts: Mapping[str, str], encoder: Encoder, *, size: int | None = None) -> MemoryCorpus:
        """One document for each named text, cut every `size` characters, or one chunk each."""
        documents = [Document(name, text, source=name) for name, text in texts.items()]
        return cls(documents, [c for d in documents for c in cut(d, size or max(1, len(d.text)))], encoder)

    @cached_property
    def spread(self) -> float:
        """The standard deviation of the inner products of evenly spaced chunks."""
        count = len(self._chunks)
        return spread_of(self._vectors[:: max(1, -(-count // SPREAD_SAMPLE))])

    @cached_property
    def version(self) -> str:
        """A hash of the chunks."""
        return fingerprint(list(self._no))

    def document_sources(self) -> Iterator[tuple[str, str]]:
        """The id and the source of every document, in the order given."""
        return ((document.id, document.source) for document in self._documents.values())

    def chunks(self) -> Iterator[Chunk]:
        """Every chunk, in the order given."""
        return iter(self._chunks)

    def embed(self, text: str) -> np.ndarray:
        """The query vector `(dim,)`."""
        if text not in self._asked:
            self.prepare([text])
        return self._asked[text]

    def prepare(self, texts: Sequence[str]) -> None:
        """Encode many questions at once, for `embed` to remember."""
        self._asked.update(zip(texts, self.encoder.encode(texts, role="query")))

    def nearest(self, vector: np.ndarray, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest inner product, best first; equal scores in the order of the chunks."""
        scores = self._vectors @ vector
        if where is None:
            return [Hit(self._chunks[no], float(scores[no])) for no in np.argsort(-scores, kind="stable")[:k]]
        return self._best({no: float(s) for no, s in enumerate(scores)}, k, where)

    def match(self, text: str, k: int, where: Filter | None = None) -> list[Hit]:
        """The `k` chunks of highest BM25 score that hold any term of `text`; a term asked twice counts once.

        `sum over terms of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))`,
        `idf = ln((N - n + 1/2) / (n + 1/2))`, at least 1e-6: SQLite FTS5's `bm25()` with the sign turned.
        """
        return self._scored(query_terms(text), k, where)

    def matched(
        self, text: str, k: int, where: Filter | None = None, rare: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scores and the vectors of what `match` finds, or would for the uncommon words alone."""
        if rare >= 1:
            hits = self.match(text, k, where)
        else:
            holding = {term: len(self._postings.get(term, ())) for term in query_terms(text)}
            hits = self._scored(uncommon(holding, len(self._chunks), rare), k, where)
        return np.array([hit.score for hit in hits], np.float32), self.vectors([hit.chunk for hit in hits])

    def _scored(self, terms: Sequence[str], k: int, where: Filter | None) -> list[Hit]:
        scores: dict[int, float] = defaultdict(float)
        mean = sum(self._lengths) / max(1, len(self._lengths))
        for word in terms:
            idf = self._idf(word)
            for no, f in self._postings.get(word, {}).items():
                scores[no] += idf * f * (K1 + 1) / (f + K1 * (1 - B + B * self._lengths[no] / mean))
        return self._best(scores, k, where)

    def _idf(self, word: str) -> float:
        n = len(self._postings.get(word, ()))
        return max(math.log((len(self._chunks) - n + 0.5) / (n + 0.5)), SMALLEST_IDF)

    def rarity(self, words: Sequence[str]) -> dict[str, float]:
        """How much each word says of a chunk that holds it."""
        return {word: rarity_of(len(self._chunks), len(self._postings.get(word, ()))) for word in words}

    def _best(self, scores: Mapping[int, float], k: int, where: Filter | None) -> list[Hit]:
        order = sorted(scores, key=lambda no: (-scores[no], no))
        kept = (no for no in order if where is None or matches(where, self._chunks[no].fields))
        return [Hit(self._chunks[no], scores[no]) for _, no in zip(range(k), kept)]

    def vectors(self, chunks: Sequence[Chunk]) -> np.ndarray:
        """The vectors of chunks, float32 `(chunks, dim)`; raises QueryError for a chunk that is not of this corpus."""
        return self._vectors[[self._number(c) for c in chunks]]

    def situations(self, chunks: Sequence[Chunk]) -> list[str]:
        """What is said of the place of each chunk, "" for nothing."""
        return [self._said[self._no[c.id]] if c.id in self._no else "" for c in chunks]

    def document(self, document_id: str) -> Document:
        """A whole document; raises QueryError for an unknown id."""
        try:
            return self._documents[document_id]
        except KeyError:
            raise QueryError(f"no document {document_id!r}", got=document_id, allowed=self._documents) from None

    def neighbours(self, chunk: Chunk, before: int, after: int) -> list[Chunk]:
        """The chunks around `chunk` in its document, itself included, in order of their start."""
        self._number(chunk)
        row = sorted((c for c in self._chunks if c.document_id == chunk.document_id), key=lambda c: (c.start, c.end))
        at = next(i for i, c in enumerate(row) if (c.start, c.end) == (chunk.start, chunk.end))
        return row[max(0, at - before) : at + after + 1]

    def _number(self, chunk: Chunk) -> int:
        if (no := self._no.get(chunk.id)) is None:
            raise QueryError(f"the corpus has no chunk {chunk.where}")
        return no


def cut(document: Document, size: int) -> list[Chunk]:
    """The document in pieces of `size` characters."""
    starts = range(0, len(document.text), size)
    return [document.chunk(Span(s, min(s + size, len(document.text)))) for s in starts]


SAMPLES = {
    "moon": "The Moon orbits the Earth in 27 days. It has no air and no weather. Armstrong walked on the Moon in 1969. "
    "Tides rise because the Moon pulls at the oceans.",
    "tea": "Tea is made of leaves. Green tea is brewed at 80 degrees. Black tea takes boiling water. Tea came by ship.",
    "rivers": "The Danube flows through ten countries. The Nile is longer than the Danube. Rivers carry ships to the "
    "oceans.",
    "copy": "Green tea is brewed at 80 degrees. GREEN tea is brewed at 80 degrees! Black tea takes boiling water.",
    "cjk": "月亮绕地球转。绿茶用八十度的水。多瑙河流经十个国家。",
    "marks": "--- *** --- 🙂🙂 --- naïve café, Straße.",
}


def sample_corpus(encoder: Encoder | None = None) -> MemoryCorpus:
    """Six small documents in pieces of some forty characters: with a shared sentence, Chinese, marks without words,
    and the metadata `year` and `kind` (which `moon` lacks).
    """
    from fovea.rag.encoders.hash import HashEncoder

    documents = [
        Document(name, text, source=name, metadata={"year": 2000 + i, **({"kind": name[0]} if i else {})})
        for i, (name, text) in enumerate(SAMPLES.items())
    ]
    return MemoryCorpus(documents, [c for d in documents for c in cut(d, 42)], encoder or HashEncoder())
