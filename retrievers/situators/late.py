"""Late chunking: the encoder reads a chunk among what surrounds it, and its vector is made of its tokens' states.

The document is read in windows of as many tokens as the model takes, each with the title in front and with whole chunks
in it; with h_t the state of token t in its window,

    v(C) = sum of h_t over the tokens of C, scaled to unit length

Günther et al., "Late chunking: contextual chunk embeddings using long-context embedding models" (2024). Every token is
read once more than without, next to its neighbours, and a changed document is read anew. Measured beside the other
ways in benchmarks/situate.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from fovea.rag import trace
from fovea.rag.encoder import Tokenizer, TokenStates
from fovea.rag.errors import ConfigError
from fovea.rag.remember import RememberingEncoder
from fovea.rag.types import Chunk, Document
from fovea.rag.windows import around, scaled, windows
from fovea.retrievers.situators.headings import HeadingSituator

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder

AT_ONCE = 64
"""Windows whose states are held in memory together."""
TELLING, AGREES = 16, 0.98
"""From so many tokens on, the mean of states without special tokens has at least this cosine with a vector that is the
mean with them; MiniLM's least, on paragraphs of Wikipedia, is 0.99.
"""


class Window(NamedTuple):
    """The stretch `[start, end)` of a document, and the chunks of which it has tokens, by their number."""

    start: int
    end: int
    chunks: range


class LateSituator(HeadingSituator, name="late"):
    """The mean of the states of a chunk's tokens, read in their window of the document; alone, or as `residual` added
    to the chunk's own vector. The words to be found by are title and headings, as of `headings`.
    """

    reads_states: ClassVar[bool] = True

    form: Literal["prefix", "residual", "none"] = "prefix"
    """`prefix` the pooled states alone, `residual` added to the chunk's own vector, `none` for the words alone."""

    def vectors(self, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`, O(length of the document). Raises ConfigError for an encoder that shows no states of
        tokens, or whose vectors are not their mean: questions would lie elsewhere.
        """
        import numpy as np

        if self.form == "none" or not chunks:
            return own
        lead = self._lead(document, encoder)
        room = None if encoder.window is None else encoder.window - encoder.tokenizer.count(lead)
        sums = np.zeros((len(chunks), own.shape[1]))
        for part, places, states in self._read(document.text, lead, chunks, room, encoder):
            for i in part.chunks:
                inside = (places[:, 0] < chunks[i].end) & (places[:, 1] > max(chunks[i].start, part.start))
                sums[i] += states[inside].sum(axis=0)
        made, some_tokens = own.copy(), sums.any(axis=1)
        made[some_tokens] = self.joined(own[some_tokens], scaled(sums[some_tokens]).astype(np.float32))
        return made

    def _read(
        self, text: str, lead: str, chunks: Sequence[Chunk], room: int | None, encoder: Encoder
    ) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
        """Windows as the encoder read them behind `lead`: places in `text` `(tokens, 2)`, states `(tokens, dim)`."""
        tokenizer, most = encoder.tokenizer, encoder.window
        whole = stretches(text, chunks, tokenizer, room)
        parts = [part for window in whole for part in _fitting(window, lead, text, tokenizer, most)]
        for at in range(0, len(parts), AT_ONCE):
            some = parts[at : at + AT_ONCE]
            read = [lead + text[part.start : part.end] for part in some]
            for part, words, found in zip(some, read, encoder.token_states(read)):
                yield part, tokenizer.offsets(words) + (part.start - len(lead)), _of_means(found, encoder)

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

    i = long = 0
    while i < len(chunks):
        first, last, end = firsts[i], lasts[i], i + 1
        if last - first > most:
            long += 1
            yield from (window(first + a, first + b, range(i, end)) for a, b in windows(last - first, most))
        else:
            while end < len(chunks) and max(last, lasts[end]) - first <= most:
                last, end = max(last, lasts[end]), end + 1
            if last > first:
                yield window(*around(first, last, most, len(places)), range(i, end))
        i = end
    trace.warn("chunks longer than the model's window were pooled over several windows", long)


def _of_means(found: TokenStates, encoder: Encoder) -> np.ndarray:
    """The states of a window, proved to be of the kind whose mean is the window's vector."""
    same_width = found.states.shape[1] == len(found.vector)
    if not same_width or (
        len(found.ids) >= TELLING and scaled(found.states.sum(axis=0, keepdims=True))[0] @ found.vector < AGREES
    ):
        raise ConfigError(
            "late chunking needs a model whose vectors are the mean of its tokens' states; those of "
            f"{encoder.behind.name if isinstance(encoder, RememberingEncoder) else encoder.name} are not",
            where="situate",
            fix="situate: {use: headings}; or an encoder that pools by the mean, such as all-MiniLM-L6-v2",
        )
    return found.states


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
