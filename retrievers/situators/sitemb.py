"""SitEmb: the vector of a short chunk, moved towards what stands around it by weights that were trained.

    c = unit(c_b + a_h E(title. heading. heading) + a_n unit(sum of c_b over the chunk and `reach` on either side))

with c_b the chunk's own unit vector and E the encoder; a_h and a_n are learned together with the matrix by which the
retriever `sitemb` moves questions, and both belong in one pipeline:

    situate: sitemb
    retrieve: [sitemb, bm25]

It is the residual form of SitEmb over the vectors of a frozen encoder (Wu et al., "SitEmb-v1.5: Improved Context-Aware
Dense Retrieval for Semantic Association and Long Story Comprehension", 2025). The paper trains a second, situated model
instead; where one is at hand, `model` names it, and with S its vectors

    c = unit(c_b + weight S(chunk </s> context))        context: the group of 16 consecutive chunks the chunk is in

Nothing is ever read across the end of a document.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveInt

from fovea.rag import trace
from fovea.rag.encoders.sentence_transformer import SentenceTransformerEncoder
from fovea.rag.errors import ConfigError
from fovea.rag.placed import NameOrPath
from fovea.rag.remember import RememberingEncoder
from fovea.rag.requirements import Requirement, model
from fovea.rag.types import Chunk, Document
from fovea.rag.weighted import Weighted
from fovea.rag.windows import scaled
from fovea.retrievers.situators.headings import HeadingSituator

if TYPE_CHECKING:
    import numpy as np

    from fovea.rag.encoder import Encoder


class SitEmbSituator(Weighted, HeadingSituator, name="sitemb"):
    """A residual for heading and neighbours, learned, or the vectors of a situated model. The words to be found by are
    title and headings, as of `headings`. O(chunks) beside the encoding.
    """

    form: Literal["add", "none"] = "add"
    """`add` the residual, `none` for the words alone."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """How much the residual counts beside the chunk itself; 1 is what it was trained for."""
    weights: NameOrPath = "sitemb"
    """The name of shipped weights, or the path of one's own; unused with `model`."""
    model: NameOrPath = ""
    """A situated sentence-transformers model, a folder or a hub name, in place of the weights."""
    group: PositiveInt = 16
    """Consecutive chunks that are one another's context, with `model`."""
    boundary: str = " </s> "
    """Stands between chunk and context, with `model`."""

    @cached_property
    def situated(self) -> SentenceTransformerEncoder:
        """The situated model."""
        return SentenceTransformerEncoder(model=self.model)

    def content(self) -> dict[str, Any]:
        """The content of the weights, or of the model in their place."""
        return {"weights": "", "model": self.situated.fingerprint} if self.model else super().content()

    def vectors(self, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder) -> np.ndarray:
        """Float32 `(chunks, dim)`. Raises ConfigError for another encoder than that of the weights, or one whose
        vectors are of another length than the model's; ModelError for weights or a model that cannot be had.
        """
        if self.form == "none" or not chunks:
            return own
        self.fit(encoder)
        if self.model:
            return self.joined(own, self.situated.encode(self.read(document, chunks)))
        heading, around = self.trained.arrays["weights"].tolist()
        said = headings_of(self, document, chunks, encoder)
        return self.joined(own, heading * said + around * surroundings(own, int(self.trained.about["reach"])))

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights, or the model in their place, go with the encoder."""
        if self.form != "none" and self.model:
            check_same_length(self.situated, encoder, where="situate")
        elif self.form != "none":
            self.trained.check(encoder, where="situate")

    def reads(self) -> Iterator[Requirement]:
        """What reads the weights, or the model in their place."""
        return iter([model(self.model)]) if self.model else super().reads()

    def read(self, document: Document, chunks: Sequence[Chunk]) -> list[str]:
        """`chunk </s> context` for each chunk. Of a context that the model's window has no room for, the chunks that
        lie furthest away are left out, and the chunks it was so for are counted.
        """
        found, narrowed, most = [], 0, self.situated.window
        for i, chunk in enumerate(chunks):
            first = last = i - i % self.group
            last = min(len(chunks), first + self.group) - 1
            whole = last - first

            def text(first: int, last: int, chunk: Chunk = chunk) -> str:
                end = max(c.end for c in chunks[first : last + 1])
                return chunk.text + self.boundary + document.text[chunks[first].start : end]

            while last > first and most is not None and self.situated.tokenizer.count(text(first, last)) > most:
                first, last = (first + 1, last) if i - first > last - i else (first, last - 1)
            narrowed += last - first < whole
            found.append(text(first, last))
        trace.warn("chunks were situated in fewer neighbours than asked for: the model's window is full", narrowed)
        return found


def headings_of(situator: HeadingSituator, document: Document, chunks: Sequence[Chunk], encoder: Encoder) -> np.ndarray:
    """The vectors of what stands above each chunk, float32 `(chunks, dim)`; zero where nothing does."""
    import numpy as np

    said, made = situator.texts(document, chunks), np.zeros((len(chunks), encoder.dim), np.float32)
    if some := [i for i, text in enumerate(said) if text]:
        made[some] = encoder.encode([said[i] for i in some])
    return made


def surroundings(own: np.ndarray, reach: int) -> np.ndarray:
    """For each of the rows `(chunks, dim)` of one document, the mean of it and of `reach` rows on either side, scaled
    to unit length.
    """
    import numpy as np

    sums = np.concatenate([np.zeros((1, own.shape[1])), np.cumsum(own, axis=0, dtype=np.float64)])
    rows = np.arange(len(own))
    made = sums[np.minimum(rows + reach + 1, len(own))] - sums[np.maximum(rows - reach, 0)]
    return scaled(made).astype(np.float32)


def check_same_length(situated: SentenceTransformerEncoder, encoder: Encoder, *, where: str) -> None:
    """Raise ConfigError unless vectors of the situated model can be added to the encoder's."""
    if situated.dim != encoder.dim:
        base = encoder.behind if isinstance(encoder, RememberingEncoder) else encoder
        raise ConfigError(
            f"vectors of the situated model {situated.model} have {situated.dim} numbers, those of the encoder "
            f"{getattr(base, 'model', base.name)} {encoder.dim}: they cannot be added",
            where=where,
            fix="an encoder and a situated model of one length, such as the model it was trained from",
        )
