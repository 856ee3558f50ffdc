"""Late pooling: the document is read once, sentence by sentence; chunk vectors are made of the sentences' vectors.

With x_s the unit vector of sentence s and n_s its tokens, a chunk C and the stretch R of `context` tokens on either
side of it, itself included, have

    m(C) = sum of n_s x_s over C, scaled to unit length        v(C) = m(C) + weight * m(R), scaled to unit length

A segmenter that asked for the sentences before left them in the encoder's memory (`rag.remember`), so that segmenting
and chunk vectors together encode each token of the document once. A sentence that a chunk's edge divides is encoded in
its parts. The context term situates a chunk: it tells apart passages that say the same of different things, and
costs a sum. Günther et al., "Late chunking: contextual chunk embeddings" (2024), pool token states of one long pass
instead; models that were not trained for it lose by that (measured in benchmarks/chunking.py's rows), sentences do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, NonNegativeInt

from rag.pooler import Pooler
from rag.sentences import sentences
from rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np

    from rag.encoder import Encoder


class LatePooler(Pooler, name="late"):
    """The mean of a chunk's sentence vectors, and of those around it."""

    context: NonNegativeInt = 200
    """Tokens on either side of a chunk that situate it."""
    weight: Annotated[float, Field(ge=0)] = 1.0
    """How much they count beside the chunk itself; 0 for the chunk alone."""

    def vectors(self, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`. O(length of the document)."""
        import numpy as np

        if not chunks:
            return np.zeros((0, encoder.dim), np.float32)
        starts, texts = pieces(document.text, chunks)
        found = encoder.encode(texts)
        tokens = np.array([max(1, encoder.tokenizer.count(text)) for text in texts], np.float64)
        sums = np.concatenate([np.zeros((1, found.shape[1])), np.cumsum(found * tokens[:, None], axis=0)])
        before = np.concatenate([[0.0], np.cumsum(tokens)])
        first = np.searchsorted(starts, [c.start for c in chunks])
        last = np.searchsorted(starts, [c.end for c in chunks])
        made = _unit(sums[last] - sums[first])
        if self.context and self.weight:
            low = np.minimum(first, np.searchsorted(before, before[first] - self.context))
            high = np.maximum(last, np.searchsorted(before, before[last] + self.context, side="right") - 1)
            made = _unit(made + self.weight * _unit(sums[high] - sums[low]))
        made[~made.any(axis=1), 0] = 1.0
        return made.astype(np.float32)


def pieces(text: str, chunks: Sequence[Chunk]) -> tuple[np.ndarray, list[str]]:
    """The sentences of `text`, divided where a chunk begins or ends inside one: their starts, rising, and texts."""
    import numpy as np

    edges = np.unique([edge for c in chunks for edge in (c.start, c.end)])
    starts, texts = [], []
    for span in sentences(text):
        inside = edges[np.searchsorted(edges, span.start, side="right") : np.searchsorted(edges, span.end)].tolist()
        for a, b in zip([span.start, *inside], [*inside, span.end]):
            part = text[a:b]
            if bare := part.strip():
                starts.append(a + len(part) - len(part.lstrip()))
                texts.append(bare)
    return np.array(starts, np.int64), texts


def _unit(rows: np.ndarray) -> np.ndarray:
    import numpy as np

    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, where=norms > 0, out=np.zeros_like(rows))
