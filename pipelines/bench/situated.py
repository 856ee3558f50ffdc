"""The corpus that a method searches: chunks as they are, or situated as ingestion situates them."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from fovea.rag.encoder import Encoder
from fovea.rag.situator import Situator
from fovea.rag.testing.corpus import MemoryCorpus
from fovea.retrievers.collection import Collection


class Corpora:
    """The corpora of one collection, by `situate`, each made when it is first asked for, with its questions encoded."""

    def __init__(self, collection: Collection, encoder: Encoder) -> None:
        self.collection, self.encoder = collection, encoder
        self._made: dict[str, MemoryCorpus] = {}

    def of(self, situator: Situator | None) -> MemoryCorpus:
        """The collection, situated; raises what the situator raises."""
        key = situator.fingerprint if situator else ""
        if key not in self._made:
            self._made[key] = situated(self.collection, situator, self.encoder)
            self._made[key].prepare([q.query.text for q in self.collection.questions])
        return self._made[key]


def situated(collection: Collection, situator: Situator | None, encoder: Encoder) -> MemoryCorpus:
    """The collection's chunks with the vectors and the words that the situator gives them, document by document."""
    documents, chunks = collection.documents, collection.chunks
    if situator is None or not chunks:
        return MemoryCorpus(documents, chunks, encoder)
    named, own = {d.id: d for d in documents}, encoder.encode([c.text for c in chunks])
    rows: list[np.ndarray] = []
    said: list[str] = []
    for name, group in groupby(chunks, key=lambda c: c.document_id):
        part, at = list(group), len(said)
        rows.append(situator.vectors(named[name], part, own[at : at + len(part)], encoder))
        said += situator.texts(named[name], part) if situator.lexical else [""] * len(part)
    return MemoryCorpus(documents, chunks, encoder, vectors=np.concatenate(rows), situations=said)
