"""The vectors of hits: the stored ones, and fresh ones for passages that no store holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import QueryError
from fovea.rag.types import Hit

if TYPE_CHECKING:
    import numpy as np


def vectors_of(hits: Sequence[Hit], corpus: Corpus) -> np.ndarray:
    """Float32 `(hits, dim)`. If a hit is no chunk of the corpus (it came from a LangChain retriever, or has grown),
    all are encoded anew, which the stage counts: slower, and the same within rounding.
    """
    try:
        return corpus.vectors([hit.chunk for hit in hits])
    except QueryError:
        trace.current().count(encoded=len(hits))
        return corpus.encoder.encode([hit.chunk.text for hit in hits])
