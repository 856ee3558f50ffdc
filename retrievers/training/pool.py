"""Pool: passages of one part of some collections and queries whose answers they are, as vectors, for training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rag.errors import ConfigError
from retrievers.collections.drawn import drawn
from retrievers.training.queries import Passages

if TYPE_CHECKING:
    from rag.encoder import Encoder
    from retrievers.collection import Collection, Split

LEAST_WORDS = 40
"""Words of a passage that queries are made of."""
BLOCK = 1024
"""Queries scored against all passages at a time."""


@dataclass(frozen=True)
class Pool:
    """Queries `asked` of passages `vectors`, and which answer which."""

    queries: Sequence[str]
    kinds: np.ndarray
    """"keywords", "part" or "asked", `(queries,)`."""
    right: np.ndarray
    """Passages that answer each query, int `(queries, most)`; rows are filled with -1."""
    asked: np.ndarray
    """Float32 `(queries, dim)`, of unit length."""
    vectors: np.ndarray
    """Float32 `(passages, dim)`, of unit length."""

    @classmethod
    def of(
        cls, collections: Sequence[Collection], split: Split, encoder: Encoder, rng: np.random.Generator, made: int
    ) -> Pool:
        """All passages of the part, each text once, its questions, and `made` queries of each kind in turn of every
        passage of 40 words or more.
        """
        texts: dict[str, int] = {}
        found: list[tuple[str, str, list[int]]] = []
        for collection in collections:
            found += _asked(collection, split, texts)
        if not texts:
            raise ConfigError(f"no document of the part {split!r} in {len(collections)} collections", where="--data")
        found += _made(Passages.of(list(texts), encoder.tokenizer), rng, made)
        queries = [query for query, _, _ in found]
        right = np.full((len(found), max(len(places) for *_, places in found)), -1)
        for row, (*_, places) in zip(right, found):
            row[: len(places)] = places
        kinds = np.array([kind for _, kind, _ in found])
        return cls(queries, kinds, right, encoder.encode(queries, "query"), encoder.encode(list(texts)))

    def draw(self, count: int, share: float, rng: np.random.Generator) -> np.ndarray:
        """`count` queries, a share of them questions of the collections, where there are some."""
        asked, made = (np.flatnonzero(which) for which in (self.kinds == "asked", self.kinds != "asked"))
        few = round(count * share) if len(asked) and len(made) else count * bool(len(asked))
        parts = [some[rng.integers(len(some), size=n)] for some, n in ((asked, few), (made, count - few)) if n]
        return np.concatenate(parts)

    def one_right(self, at: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """For each query one of the passages that answer it."""
        right = self.right[at]
        return right[np.arange(len(at)), rng.integers((right >= 0).sum(1))]

    def answers(self, at: np.ndarray, passages: np.ndarray) -> np.ndarray:
        """Whether each of some passages answers each of some queries: bool `(queries, passages)`."""
        return (self.right[at][:, :, None] == passages).any(1)

    def nearest_wrong(self, count: int) -> np.ndarray:
        """The `count` passages nearest to each query that do not answer it: int `(queries, count)`."""
        every = np.arange(len(self.vectors))
        found = []
        for start in range(0, len(self.asked), BLOCK):
            at = np.arange(start, min(start + BLOCK, len(self.asked)))
            scores = self.asked[at] @ self.vectors.T
            scores[self.answers(at, every)] = -np.inf
            found.append(np.argpartition(-scores, min(count, len(every) - 1), axis=1)[:, :count])
        return np.concatenate(found)

    def places(self, scores: np.ndarray) -> np.ndarray:
        """The place, from 0, of the best passage that answers each query, by `scores` `(queries, passages)`."""
        best = np.where(self.right >= 0, np.take_along_axis(scores, self.right.clip(0), 1), -np.inf).max(1)
        return (scores > best[:, None]).sum(1)


def _asked(collection: Collection, split: Split, texts: dict[str, int]) -> Iterator[tuple[str, str, list[int]]]:
    """Put the passages of the part into `texts`, numbered, and give its questions."""
    parts = collection.parts or _parts(collection)
    number = {c.id: texts.setdefault(c.text, len(texts)) for c in collection.chunks if parts[c.document_id] == split}
    for question in collection.questions:
        places = sorted({number[i] for i in question.relevant if i in number})
        if places and question.split == split:
            yield question.query.text, "asked", places


def _parts(collection: Collection) -> dict[str, Split]:
    """What each document is for: what the questions that it answers are for, the held-out part first; else drawn."""
    document = {c.id: c.document_id for c in collection.chunks}
    found = {d.id: drawn(d.id) for d in collection.documents}
    order: tuple[Split, ...] = ("train", "dev", "test")
    for split in order:
        for question in collection.questions:
            if question.split == split:
                found |= {document[i]: split for i in question.relevant if i in document}
    return found


def _made(passages: Passages, rng: np.random.Generator, made: int) -> Iterator[tuple[str, str, list[int]]]:
    for at, text in enumerate(passages.texts):
        if len(text.split()) >= LEAST_WORDS:
            for turn in range(made):
                kind = "part" if (at + turn) % 2 else "keywords"
                query = passages.part(at, rng) if kind == "part" else passages.keywords(at, rng)
                if query.strip():
                    yield query, kind, [at]
