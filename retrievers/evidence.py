"""Evidence: what speaks for a passage as an answer, in thirteen numbers that cost no model of their own.

Of the question and a passage: the inner product of their vectors; the two best of the passage's sentences; BM25, as a
share of the best passage's and of the most it could be; the share of the question's words, each counted by its rarity,
that the passage holds, that its best sentence holds and that its title holds; its pairs of neighbouring words; its
numbers; the inner product with the vector after lexical feedback (`fovea.retrievers.lexical_feedback`); the best
sentence by meaning and words together; and the passage's length.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from fovea.rag.corpus import Corpus
from fovea.rag.sentences import sentences
from fovea.rag.tokens import words
from fovea.rag.types import Hit, Query
from fovea.retrievers.lexical_feedback import LexicalFeedbackRetriever
from fovea.retrievers.vectors import vectors_of

if TYPE_CHECKING:
    import numpy as np

NAMES = (
    "vector", "sentence", "second sentence", "bm25 of best", "bm25 of most", "words", "words of a sentence",
    "words of the title", "pairs", "numbers", "feedback", "sentence and words", "length",
)  # fmt: skip
MATCHED = 100
"""Passages whose BM25 score is looked up; any other counts as 0."""
MOST_BM25 = 2.2
"""k1 + 1: the most that a word's rarity is multiplied by."""


def evidence(query: Query, hits: Sequence[Hit], corpus: Corpus) -> np.ndarray:
    """Float32 `(hits, 13)`, a column for each of `NAMES`. Encodes the sentences of the hits."""
    import numpy as np

    asked, pairs = corpus.embed(query.text), _pairs(words(query.text))
    rarity = corpus.rarity(list(dict.fromkeys(words(query.text))))
    total = sum(rarity.values()) or 1.0
    numbers = [word for word in rarity if any(c.isdigit() for c in word)]
    matched = {hit.chunk.id: hit.score for hit in corpus.match(query.text, MATCHED, query.where)}
    best = max((matched.get(hit.chunk.id, 0.0) for hit in hits), default=0.0) or 1.0
    vectors = vectors_of(hits, corpus)
    moved = LexicalFeedbackRetriever().vector(query, corpus)
    rows = []
    for hit, vector, (texts, nearness) in zip(hits, vectors, _sentences(asked, hits, corpus)):
        held = [_share(rarity, set(words(text)), total) for text in texts]
        order, said = sorted(nearness, reverse=True), words(hit.chunk.text)
        score, everything = matched.get(hit.chunk.id, 0.0), set(said)
        rows.append((
            float(vector @ asked), order[0], order[min(1, len(order) - 1)], score / best, score / (MOST_BM25 * total),
            _share(rarity, everything, total), max(held), _share(rarity, set(words(hit.chunk.title)), total),
            len(pairs & _pairs(said)) / max(1, len(pairs)),
            sum(word in everything for word in numbers) / len(numbers) if numbers else 1.0,
            float(vector @ moved), max(a + b for a, b in zip(nearness, held)), np.log1p(len(said)) / 5,
        ))  # fmt: skip
    return np.array(rows, np.float32).reshape(len(hits), len(NAMES))


def among(rows: np.ndarray) -> np.ndarray:
    """Evidence `(hits, 13)` with how it stands among the hits: float32 `(hits, 39)`, the numbers themselves, in
    standard deviations from their mean, and below the highest.
    """
    import numpy as np

    if not len(rows):
        return np.zeros((0, 3 * len(NAMES)), np.float32)
    middle, spread = rows.mean(0), rows.std(0)
    apart = np.where(spread > 1e-6, (rows - middle) / np.maximum(spread, 1e-6), 0.0)
    return np.concatenate([rows, apart, rows - rows.max(0)], axis=1).astype(np.float32)


def _sentences(asked: np.ndarray, hits: Sequence[Hit], corpus: Corpus) -> list[tuple[list[str], list[float]]]:
    """The sentences of each hit, at least one, and their inner products with the question."""
    texts = []
    for hit in hits:
        text = hit.chunk.text
        texts.append([found for s in sentences(text) if (found := text[s.start : s.end].strip())] or [text])
    flat = list(dict.fromkeys(text for found in texts for text in found))
    near = dict(zip(flat, (corpus.encoder.encode(flat) @ asked).tolist())) if flat else {}
    return [(found, [near[text] for text in found]) for found in texts]


def _share(rarity: dict[str, float], held: set[str], total: float) -> float:
    return sum(weight for word, weight in rarity.items() if word in held) / total


def _pairs(said: list[str]) -> set[tuple[str, str]]:
    return set(pairwise(said))
