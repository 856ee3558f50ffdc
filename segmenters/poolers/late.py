"""Late pooling: the document is read once, sentence by sentence; chunk vectors are made of the sentences' vectors.

With x_s the unit vector of sentence s and n_s its tokens, a chunk C and the stretches R_k of `context[k]` tokens on
either side of it, C included, have

    m(C) = sum of n_s x_s over C, scaled to unit length
    v(C) = m(C) + weight * sum over k of m(R_k), scaled to unit length

A segmenter that asked for the sentences before left them in the encoder's memory (`fovea.rag.remember`), so that
segmenting and chunk vectors together encode each token of the document once. A sentence that a chunk's edge divides is
encoded in its parts. The context terms situate a chunk: they tell apart passages that say the same of different
things, and cost a sum each. Günther et al., "Late chunking: contextual chunk embeddings" (2024), pool the token states
of one long pass instead, for models that read long texts; pooling sentences asks nothing of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PositiveInt

from fovea.rag.pooler import Pooler
from fovea.rag.sentences import sentences
from fovea.rag.types import Chunk, Document

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder


class LatePooler(Pooler, name="late"):
    """The mean of a chunk's sentence vectors, and of those around it."""

    context: tuple[PositiveInt, ...] = (100, 400)
    """Tokens on either side of a chunk that situate it, near and far; none for the chunk alone."""
    weight: Annotated[float, Field(ge=0)] = 0.5
    """How much each of these stretches counts beside the chunk itself."""

    def vectors(self, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`. O(length of the document)."""
        import numpy as np

        from fovea.segmenters.blocks import unit

        if not chunks:
            return np.zeros((0, encoder.dim), np.float32)
        starts, texts = pieces(document.text, chunks)
        found = encoder.encode(texts)
        tokens = np.array([max(1, encoder.tokenizer.count(text)) for text in texts], np.float64)
        sums = np.concatenate([np.zeros((1, found.shape[1])), np.cumsum(found * tokens[:, None], axis=0)])
        before = np.concatenate([[0.0], np.cumsum(tokens)])
        first = np.searchsorted(starts, [c.start for c in chunks])
        last = np.searchsorted(starts, [c.end for c in chunks])
        made = unit(sums[last] - sums[first])
        for reach in self.context:
            low = np.minimum(first, np.searchsorted(before, before[first] - reach))
            high = np.maximum(last, np.searchsorted(before, before[last] + reach, side="right") - 1)
            made += self.weight * unit(sums[high] - sums[low])
        made = unit(made)
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
