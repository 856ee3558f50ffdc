"""Surroundings: a chunk is found by the words around it too, so that small chunks and long ones are searched at once.

Vectors tell short passages apart best. BM25 loses by them: the words of a question are spread over the sentences around
the one that answers it. With c the counts of terms in a text, BM25 here scores a chunk C by

    2 c(C) + c(the whole chunks within `reach` characters of it, on either side)

so a window slides over the document in steps of a chunk, and its middle counts double. Fields of one text weighted and
added before BM25's saturation are BM25F (Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted
fields", 2004). The chunk stays as small as it is, and so do its vector and what is returned.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import PositiveInt

from fovea.rag.situator import Form, Situator
from fovea.rag.types import Chunk, Document


class SurroundingsSituator(Situator, name="surroundings"):
    """The text from the first to the last chunk that lies within `reach` characters of the chunk, itself included;
    nothing for a chunk that no other is so near to. Measured in benchmarks/chunks_in_hybrid.py.
    """

    form: Form = "none"
    """`none`: the words alone. A vector knows its surroundings by `pool: late` at less cost."""
    reach: PositiveInt = 600
    """Characters on either side: with chunks of 75 tokens at most, two or three before and as many behind."""

    def texts(self, document: Document, chunks: Sequence[Chunk]) -> list[str]:
        """The text around each chunk. O(chunks * reach)."""
        said, first, last = [], 0, 0
        for i, chunk in enumerate(chunks):
            while first < i and chunk.start - chunks[first].start > self.reach:
                first += 1
            last = max(last, i)
            while last + 1 < len(chunks) and chunks[last + 1].end - chunk.end <= self.reach:
                last += 1
            alone = first == last
            said.append("" if alone else document.text[chunks[first].start : chunks[last].end].strip())
        return said
