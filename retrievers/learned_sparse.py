"""Learned sparse retrieval (SPLADE and its kin): lexical search whose words and weights a model has learnt."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

from pydantic import Field, PositiveInt, PrivateAttr

from fovea.rag import trace
from fovea.rag.component import Component, SpeedOnly
from fovea.rag.corpus import Corpus
from fovea.rag.filters import matches
from fovea.rag.models import locate
from fovea.rag.placed import NameOrPath
from fovea.rag.recipe import Recipe
from fovea.rag.requirements import Requirement, model
from fovea.rag.retrieval import Retriever
from fovea.rag.types import Chunk, Hit, Query
from fovea.retrievers.postings import Kept, Postings
from fovea.retrievers.sparse_model import SparseModel, check_kind

AT_ONCE = 256
"""Texts encoded between two writes to the file: what an interruption can cost."""


class Index(NamedTuple):
    """The chunks in its order, their postings, and the version of the corpus it was made from."""

    version: str
    chunks: list[Chunk]
    postings: Postings


class LearnedSparseRetriever(Retriever, name="learned_sparse"):
    """The chunks of highest inner product with the question's terms, by a `SparseEncoder` of sentence-transformers;
    exact, over postings in memory. A chunk that shares no term does not come.

    Chunks are encoded at the first question after a change of the corpus, each text once: its vector is kept in a file
    of the store. Words that are said of a chunk's place count as its own.
    """

    packages: ClassVar[Mapping[str, str]] = {"sentence_transformers": "models"}

    model: NameOrPath
    """A folder or a hub name, such as `naver/splade-v3`."""
    max_active_dims: PositiveInt | None = None
    """Keep a vector's so many highest weights; left out, what the model's own settings say."""
    device: SpeedOnly[str] = Field(default="cpu", pattern=r"^(cpu|mps|cuda(:\d+)?)$")
    """Where the model runs."""
    batch_size: SpeedOnly[PositiveInt] = 16
    """Texts in one batch: each takes `tokens * terms of the vocabulary` numbers."""
    offline: SpeedOnly[bool] = False
    """Never ask the hub."""

    _folder: Path | None = PrivateAttr(default=None)
    _built: Index | None = PrivateAttr(default=None)
    _lock: threading.Lock = PrivateAttr(default_factory=threading.Lock)

    def beside(self, store: Path, base: Path) -> LearnedSparseRetriever:
        """With its vectors in a file of the store's folder."""
        copy = self.model_copy()
        copy._folder, copy._lock = store, threading.Lock()
        return copy

    def requirements(self, encoder: Component | None = None) -> Iterator[Requirement]:
        """The library and the model."""
        yield from super().requirements(encoder)
        yield model(self.model)

    @cached_property
    def recipe(self) -> Recipe:
        """What the model's folder says; raises ModelError where there is none, or it is of a model of another kind."""
        recipe = Recipe.read(locate(self.model, offline=self.offline).path)
        check_kind(recipe, self.model)
        return recipe

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the settings, with the model's content in its place."""
        return self.fingerprint_with(model=self.recipe.identity)

    def search(self, query: Query, k: int, corpus: Corpus) -> list[Hit]:
        """At most `k` hits with a score over 0, best first; equal scores in the order of the corpus.

        Raises ModelError for a model that cannot be had or fails.
        """
        import numpy as np

        with self._lock:
            index = self._index(corpus)
            if not index.chunks:
                return []
            [asked] = self._loaded.weights([query.text], "query")
        scores = index.postings.scores(asked)
        if query.where is not None:
            scores = scores * [matches(query.where, c.fields) for c in index.chunks]
        order = np.argsort(-scores, kind="stable")[:k]
        return [Hit(index.chunks[i], s).scored(self.name, s) for i in order if (s := float(scores[i])) > 0]

    def _index(self, corpus: Corpus) -> Index:
        if self._built is None or self._built.version != corpus.version:
            chunks = list(corpus.chunks())
            said = corpus.situations(chunks)
            texts = [f"{place}\n{chunk.text}" if place else chunk.text for place, chunk in zip(said, chunks)]
            kept = Kept(self._folder / f"learned_sparse-{self.fingerprint}.sqlite" if self._folder else None)
            rows = kept.get(texts)
            lacking = sorted((text for text in dict.fromkeys(texts) if text not in rows), key=len)
            for at in range(0, len(lacking), AT_ONCE):
                some = lacking[at : at + AT_ONCE]
                made = dict(zip(some, self._loaded.weights(some, "document")))
                kept.put(made)
                rows |= made
            kept.forget_others(texts)
            trace.current().count(encoded_sparse=len(lacking))
            self._built = Index(corpus.version, chunks, Postings([rows[text] for text in texts]))
        return self._built

    @cached_property
    def _loaded(self) -> SparseModel:
        return SparseModel(self.recipe.path, self.device, self.batch_size, self.max_active_dims)
