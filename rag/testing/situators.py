"""What every situator must keep to, for ours and for anybody's: `check_situator(MySituator(), encoder, cut)`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from fovea.rag.encoder import Encoder
from fovea.rag.situator import Situator
from fovea.rag.types import Chunk, Document, Span

MARKDOWN = """# Rivers of Europe

They carry ships to the oceans.

## The Danube

It flows through ten countries.

### Bridges

The oldest is of stone.

## The Nile

It is not in Europe at all, and longer.
"""
SAMPLES = (
    Document("markdown", MARKDOWN, title="Rivers of Europe", media_type="text/markdown"),
    Document(
        "html", "<h1>Tea</h1><p>It is made of leaves.</p><h2>Green</h2><p>Brewed at 80.</p>", media_type="text/html"
    ),
    Document("plain", "The Moon orbits the Earth. It has no air. It is far away.", metadata={"year": 1969}),
    Document("titled", "It has no air. " * 40, title="The Moon"),
    Document(
        "hostile",
        "\r\n\r\n# \ud800 \0 ##\n\n" + "中文没有空格的句子。" * 9 + "\n\n---\n- a\n---\n",
        title=" \n",
        media_type="text/markdown",
    ),
    Document("blank", " \n\n\t\n"),
    Document("mark", "?"),
)


def pieces(document: Document, size: int = 40) -> list[Chunk]:
    """The document in pieces of `size` characters."""
    return [document.chunk(Span(a, min(a + size, len(document.text)))) for a in range(0, len(document.text), size)]


def check_situator(
    situator: Situator,
    encoder: Encoder,
    cut: Callable[[Document], Sequence[Chunk]] = pieces,
    documents: Iterable[Document] = SAMPLES,
) -> None:
    """Every law below, over documents of all sorts."""
    assert situator.texts(SAMPLES[0], []) == []
    assert situator.vectors(SAMPLES[0], [], np.zeros((0, encoder.dim), np.float32), encoder).shape == (0, encoder.dim)
    for document in documents:
        chunks = cut(document)
        own = encoder.encode([chunk.text for chunk in chunks])
        check_texts(situator, document, chunks)
        check_vectors(situator, document, chunks, own, encoder)
        check_names(situator, document, chunks, own, encoder)


def check_texts(situator: Situator, document: Document, chunks: Sequence[Chunk]) -> None:
    """A string a chunk, the same ones when asked again."""
    said = situator.texts(document, chunks)
    assert isinstance(said, list)
    assert len(said) == len(chunks), f"{situator.name}: {len(said)} texts for {len(chunks)} chunks"
    assert all(isinstance(text, str) and text == text.strip() for text in said), f"{situator.name}: {said}"
    assert situator.texts(document, chunks) == said, "the same chunks, the same texts"


def check_vectors(
    situator: Situator, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder
) -> None:
    """Float32 unit rows, the same ones when asked again; own vectors are only read, and `none` leaves them."""
    before = own.copy()
    made = situator.vectors(document, chunks, own, encoder)
    assert made.shape == own.shape, f"{situator.name}: shape {made.shape}"
    assert made.dtype == np.float32, f"{situator.name}: {made.dtype}"
    assert np.isfinite(made).all()
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-4), f"{situator.name}: rows are not of unit length"
    assert np.array_equal(own, before), f"{situator.name} has changed the own vectors"
    again = situator.vectors(document, chunks, own, encoder)
    assert np.allclose(made, again, atol=1e-6), "the same chunks, the same vectors"
    left = situator.model_copy(update={"form": "none"})
    assert np.array_equal(left.vectors(document, chunks, own, encoder), own), "`none` leaves the vectors as they are"


def check_names(
    situator: Situator, document: Document, chunks: Sequence[Chunk], own: np.ndarray, encoder: Encoder
) -> None:
    """A document's name says nothing of its chunks: the same document elsewhere has the same vectors and texts."""
    other = replace(document, id=f"{document.id} 2", source="elsewhere")
    moved = [other.chunk(Span(chunk.start, chunk.end)) for chunk in chunks]
    assert situator.texts(other, moved) == situator.texts(document, chunks), f"{situator.name} tells the name"
    made = situator.vectors(document, chunks, own, encoder)
    assert np.allclose(situator.vectors(other, moved, own, encoder), made, atol=1e-6), f"{situator.name} tells the name"
