"""Asked: questions and passages as vectors, and which passages answer: what a loss over cached vectors reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fovea.rag.retrieval import Retriever
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.retrievers.training.mining import hard_negatives

if TYPE_CHECKING:
    from fovea.rag.encoder import Encoder
    from fovea.retrievers.collection import Collection


class Asked(NamedTuple):
    """The questions of several collections, each of which is searched by itself."""

    questions: np.ndarray
    """Float32 `(questions, dim)`, rows of unit length."""
    passages: np.ndarray
    """Float32 `(passages, dim)`, rows of unit length."""
    relevant: list[np.ndarray]
    """Rows of the passages that answer each question, at least one."""
    negatives: list[np.ndarray]
    """Rows of the hard negatives of each question, best first."""
    homes: np.ndarray
    """Which collection a passage is of: int `(passages,)`."""

    @classmethod
    def of(
        cls, collections: Sequence[Collection], encoder: Encoder, miner: Retriever | None = None, count: int = 0
    ) -> Asked:
        """Encode the questions and passages of all collections, and mine `count` negatives a question."""
        questions, passages, homes = [], [], []
        relevant: list[np.ndarray] = []
        negatives: list[np.ndarray] = []
        before = 0
        for home, one in enumerate(c for c in collections if c.questions):
            corpus = MemoryCorpus(one.documents, one.chunks, encoder)
            corpus.prepare(texts := [q.query.text for q in one.questions])
            rows = {chunk.id: before + row for row, chunk in enumerate(one.chunks)}
            questions.append(np.stack([corpus.embed(text) for text in texts]))
            passages.append(corpus.vectors(one.chunks))
            homes.append(np.full(len(one.chunks), home))
            relevant += [np.array([rows[key] for key in q.relevant]) for q in one.questions]
            mined = hard_negatives(one, miner, corpus, count=count) if miner and count else [[] for _ in texts]
            negatives += [np.array([rows[chunk.id] for chunk in chunks], int) for chunks in mined]
            before += len(one.chunks)
        return cls(np.concatenate(questions), np.concatenate(passages), relevant, negatives, np.concatenate(homes))

    def home(self, question: int) -> int:
        """Which collection a question is of."""
        return int(self.homes[self.relevant[question][0]])
