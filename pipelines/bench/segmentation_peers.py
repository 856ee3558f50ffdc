"""Segmenters of other libraries, each by its own code, on the very units that ours are given.

A peer splits text into sentences by itself; here that step alone is replaced by the given units, so that what is
compared is where it cuts. A peer that is not installed raises MissingExtra, and becomes a row that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

from fovea.rag.encoder import Encoder
from fovea.rag.errors import MissingExtra, ModelError, require
from fovea.segmenters.units import Units


def ends(pieces: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Boundaries `(gaps,)` of pieces that are runs of `texts`, whatever white space they were joined with.

    Raises ModelError where a piece ends inside a unit: the peer did not segment units.
    """
    after = {end: unit for unit, end in enumerate(accumulate(map(_solid, texts)))}
    found = np.zeros(len(texts) - 1, bool)
    for end in list(accumulate(map(_solid, pieces)))[:-1]:
        if end not in after:
            raise ModelError("a piece of the peer ends inside a unit")
        found[after[end]] = True
    return found


def _solid(text: str) -> int:
    """How many characters are no white space."""
    return len("".join(text.split()))


def langchain_semantic(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
    """LangChain's SemanticChunker with its defaults: the 95th percentile, or a percentile made of the number."""
    splitter = require("langchain_experimental.text_splitter", extra="peers", needed_by="langchain_semantic")
    from langchain_core.embeddings import Embeddings

    class Ours(Embeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            return encoder.encode(texts).tolist()

        def embed_query(self, text: str) -> list[float]:
            return encoder.encode([text], "query")[0].tolist()

    class Given(splitter.SemanticChunker):  # type: ignore[name-defined]
        def _get_single_sentences_list(self, text: str) -> list[str]:
            return units.texts

    found = Given(Ours(), number_of_chunks=None if count is None else count + 1).split_text(units.text)
    return ends(found, units.texts)


def chonkie_embeddings(encoder: Any) -> Any:
    """An encoder as chonkie takes one."""
    base = require("chonkie.embeddings", extra="peers", needed_by="chonkie_semantic").BaseEmbeddings

    class Ours(base):  # type: ignore[misc, valid-type]
        def embed(self, text: str) -> np.ndarray:
            return encoder.encode([text])[0]

        def embed_batch(self, texts: list[str]) -> list[np.ndarray]:
            return list(encoder.encode(texts)) if texts else []

        @property
        def dimension(self) -> int:
            return encoder.dim

        def get_tokenizer(self) -> Any:
            return encoder.tokenizer.count

    return Ours()


def chonkie_semantic(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
    """chonkie's SemanticChunker with its defaults, its largest chunk among them."""
    chonkie = require("chonkie", extra="peers", needed_by="chonkie_semantic")
    texts = [text + " " for text in units.texts]

    class Given(chonkie.SemanticChunker):  # type: ignore[name-defined]
        def _split_sentences(self, text: str) -> list[str]:
            return texts

    found = Given(embedding_model=chonkie_embeddings(encoder)).chunk(units.text)
    return ends([chunk.text for chunk in found], texts)


def nltk_texttiling(units: Units, encoder: Encoder, count: int | None) -> np.ndarray:
    """NLTK's TextTiling with its defaults; a unit is a paragraph, since it ends segments at paragraphs only.

    Raises ModelError for a text in which it finds too little to tile.
    """
    try:
        import nltk
    except ImportError:
        raise MissingExtra("nltk_texttiling needs NLTK, which is not installed", fix="pip install nltk") from None
    try:
        found = nltk.TextTilingTokenizer().tokenize("\n\n".join(units.texts))
    except LookupError:
        raise ModelError("NLTK's list of stop words is not here", fix="python -m nltk.downloader stopwords") from None
    except (ValueError, ZeroDivisionError, IndexError) as error:
        raise ModelError(f"NLTK cannot tile it: {type(error).__name__}: {error}") from None
    return ends(found, units.texts)


Peer = tuple[str, Callable[[Units, Encoder, "int | None"], np.ndarray], dict[str, Any], bool, bool]
PEERS: tuple[Peer, ...] = (
    ("langchain_semantic", langchain_semantic, {"percentile": 95}, True, True),
    ("chonkie_semantic", chonkie_semantic, {"threshold": 0.8, "similarity_window": 3}, True, False),
    ("nltk_texttiling", nltk_texttiling, {"w": 20, "k": 10}, True, False),
)
"""Name, rule, settings, and whether it works with the number of boundaries unknown, and given."""
