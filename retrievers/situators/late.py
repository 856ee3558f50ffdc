"""Late chunking: the encoder reads a chunk among what surrounds it, and the chunk's vector is made of its tokens' states.

The document is read in windows of as many tokens as the model takes, each with the title in front and with whole chunks
in it; with h_t the state of token t in its window,

    v(C) = sum of h_t over the tokens of C, scaled to unit length

Günther et al., "Late chunking: contextual chunk embeddings using long-context embedding models" (2024). Every token is
read once more than without, next to its neighbours, and a changed document is read anew. A model that was trained on
single passages gains little or loses by it (benchmarks/situate.py): compare before use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from rag import trace
from rag.encoder import Tokenizer
from rag.types import Chunk, Document
from rag.windows import around, scaled, windows
from retrievers.situators.headings import HeadingSituator

if TYPE_CHECKING:
    import numpy as np

    from rag.encoder import Encoder

AT_ONCE = 64
"""Windows whose states are held in memory together."""


class Window(NamedTuple):
    """The stretch `[start, end)` of a document, and the chunks of which it has tokens, by their number."""

    start: int
    end: int
    chunks: range


class LateSituator(HeadingSituator, name="late"):
    """The mean of the states of a chunk's tokens, read in their window of the document; alone, or as `residual` added
    to the chunk's own vector. The words to be found by are title and headings, as of `headings`.
    """

    form: Literal["prefix", "residual", "none"] = "prefix"
    """`prefix` the pooled states alone, `residual` added to the chunk's own vector, `none` for the words alone."""

    def vectors(self, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`; raises ModelError for an encoder without states. O(length of the document)."""
        import numpy as np

        if self.form == "none" or not chunks:
            return own
        lead = self._lead(document, encoder)
        tokenizer, most = encoder.tokenizer, encoder.window
        room = None if most is None else most - tokenizer.count(lead)
        parts = list(stretches(document.text, chunks, tokenizer, room))
        sums = np.zeros((len(chunks), own.shape[1]))
        for at in range(0, len(parts), AT_ONCE):
            some = [part for p in parts[at : at + AT_ONCE] for part in _fitting(p, lead, document.text, tokenizer, most)]
            read = [lead + document.text[part.start : part.end] for part in some]
            for part, text, states in zip(some, read, encoder.states(read)):
                places = tokenizer.offsets(text) + (part.start - len(lead))
                for i in part.chunks:
                    low, high = max(chunks[i].start, part.start), chunks[i].end
                    sums[i] += states[(places[:, 0] < high) & (places[:, 1] > low)].sum(axis=0)
        made, some_tokens = own.copy(), sums.any(axis=1)
        made[some_tokens] = self.joined(own[some_tokens], scaled(sums[some_tokens]).astype(np.float32))
        return made

    def _lead(self, document: Document, encoder: Encoder) -> str:
        """The title as it stands before each window, unless it would fill half of it."""
        lead = f"{title}{self.separator}" if (title := " ".join(document.title.split())) else ""
        if encoder.window is not None and 2 * encoder.tokenizer.count(lead) > encoder.window:
            trace.warn("titles that would fill half of the model's window were left out of it")
            return ""
        return lead


def stretches(text: str, chunks: Sequence[Chunk], tokenizer: Tokenizer, most: int | None) -> Iterator[Window]:
    """Windows of at most `most` tokens of `text`: as many whole chunks as fit, in order, and around them what there is
    room for. A chunk longer than that has windows of its own.
    """
    import numpy as np

    places = tokenizer.offsets(text)
    if not len(places):
        return
    firsts = np.searchsorted(places[:, 1], [c.start for c in chunks], side="right").tolist()
    lasts = np.searchsorted(places[:, 0], [c.end for c in chunks]).tolist()
    most = len(places) if most is None else most

    def window(first: int, last: int, which: range) -> Window:
        return Window(int(places[first, 0]), int(places[last - 1, 1]), which)

    i = 0
    while i < len(chunks):
        first, last, end = firsts[i], lasts[i], i + 1
        if last - first > most:
            trace.warn("chunks longer than the model's window were pooled over several windows")
            yield from (window(first + a, first + b, range(i, end)) for a, b in windows(last - first, most))
        else:
            while end < len(chunks) and max(last, lasts[end]) - first <= most:
                last, end = max(last, lasts[end]), end + 1
            if last > first:
                yield window(*around(first, last, most, len(places)), range(i, end))
        i = end


def _fitting(part: Window, lead: str, text: str, tokenizer: Tokenizer, most: int | None) -> Iterator[Window]:
    """The window, halved as long as it counts for more than `most`: a piece may count otherwise than the same
    characters inside the whole.
    """
    if most is None or part.end - part.start <= 1 or tokenizer.count(lead + text[part.start : part.end]) <= most:
        yield part
        return
    middle = (part.start + part.end) // 2
    yield from _fitting(part._replace(end=middle), lead, text, tokenizer, most)
    yield from _fitting(part._replace(start=middle), lead, text, tokenizer, most)
