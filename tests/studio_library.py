"""A store for the studio's tests, written in one transaction: thousands of documents take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.types import Document, Span
from fovea.retrievers.library.library import Library, SourceRow, vector_key

HOSTILE = (
    '<b onmouseover="document.title=1">bold?</b> <img src=x onerror="document.title=2"> '
    "<script>document.title=3</script> &lt;i&gt; ]]> 😀 𝒳 \u202eright to left\u202c and back.\n"
)
HOSTILE_NAME = 'docs/<img src=x onerror="document.title=4">.txt'
PAGES = "The first page is about tea.\n\n", "The second page is about the Moon.\n\n", "The third is about rivers.\n"
TEA = "Green tea is brewed at 80 degrees. Black tea is brewed at 95 degrees. Tea came from China.\n"
SECRET = "The secret word is xylophone 😀."
YAML = (
    "name: {name}\nencoder: hash\nsegment: {{use: sentence, max_tokens: 12}}\nstore: {{use: embedded, path: store}}\n"
)


def long_text(characters: int = 5_000_000) -> str:
    """Some lines of prose, said over and over, each with its number, and a secret in the middle."""
    lines, length, n = [], 0, 0
    while length < characters:
        n += 1
        lines.append(f"Line {n} says that the harbour lies behind the lantern, and that copper is not green.\n")
        length += len(lines[-1])
    lines.insert(n // 2, SECRET + "\n")
    return "".join(lines)


def documents(count: int) -> Iterator[tuple[Document, list[Span]]]:
    """`count` small documents, and four that are odd or large, each with its chunks."""
    for n in range(count):
        text = f"Note {n} of the harbour. The lantern burns.\n"
        yield Document(f"notes/{n % 50:02d}/note-{n:05d}.txt", text), [Span(0, len(text))]
    yield Document("docs/tea.txt", TEA), [Span(0, 34), Span(35, 69), Span(70, 90)]
    yield Document(HOSTILE_NAME, HOSTILE * 3, title="<i>hostile</i>"), [Span(0, len(HOSTILE))]
    whole, starts = "".join(PAGES), (0, len(PAGES[0]), len(PAGES[0]) + len(PAGES[1]))
    ends = (*starts[1:], len(whole))
    yield Document("docs/paged.pdf", whole, pages=starts), [Span(a, b) for a, b in zip(starts, ends)]
    text = long_text()
    yield Document("docs/whole.txt", text), [Span(at, min(at + 5000, len(text))) for at in range(0, len(text), 5000)]


def write(folder: Path, count: int) -> Path:
    """The store and the YAML over it; two sources have failed. Returns the YAML's path."""
    encoder = HashEncoder()
    with Library.open(folder / "store", encoder=encoder) as library, library.transaction():
        for document, spans in documents(count):
            document = Document(document.id, document.text, document.id, document.title, pages=document.pages)
            chunks = [document.chunk(span) for span in spans]
            texts = [chunk.text for chunk in chunks]
            small = document.id.startswith("docs/") and len(chunks) < 9
            vectors = encoder.encode(texts) if small else np.eye(len(chunks), encoder.dim, dtype=np.float32)
            vectors[~vectors.any(axis=1), 0] = 1  # of what no test asks for: encoding it would take the longest
            library.add_vectors([vector_key(text, encoder.fingerprint) for text in texts], vectors)
            library.replace(SourceRow(document.id, size=len(document.text), recipe="made"), [(document, chunks)])
        for name in ("docs/broken.pdf", "docs/broken.docx"):
            library.fail(SourceRow(name, size=15), f"{name}: it is damaged or cut off\n  fix: copy it again")
    path = folder / "qa.yaml"
    path.write_text(YAML.format(name="many"), "utf-8")
    return path
