"""BM25 over the library's own lexical index, which is updated in the same transaction as the chunks."""

from __future__ import annotations

from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Hit, Query


class BM25Retriever(Retriever, name="bm25"):
    """The chunks that share the question's rarest terms (Robertson and Zaragoza, 2009), scored as SQLite's FTS5 does.

    Terms are folded words, what marks join (`2.10.1`), and pairs of characters in scripts without spaces
    (`fovea.rag.terms`); the score is their
    `sum of idf * f (k1 + 1) / (f + k1 (1 - b + b length / mean length))` with k1 1.2, b 0.75 and
    `idf = max(1e-6, ln((N - n + 1/2) / (n + 1/2)))`: a term that half of the chunks hold counts for almost nothing.
    """

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits with a score over 0, best first; chunks without a term of the question do not come."""
        return [hit.scored("bm25", hit.score) for hit in corpus.match(query.text, k, query.where)]
