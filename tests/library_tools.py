"""Small libraries for tests."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fovea.rag.encoders.hash import HashEncoder
from fovea.rag.terms import index_terms
from fovea.rag.testing.corpus import MemoryCorpus, cut
from fovea.rag.types import Chunk, Document, Scalar
from fovea.retrievers.corpus import LibraryCorpus
from fovea.retrievers.library.library import Library, SourceRow, vector_key
from fovea.retrievers.library.opening import FILE
from fovea.retrievers.stores.embedded import EmbeddedStore

ENCODER = HashEncoder(size=32)


def opened(path: Path, **options) -> Library:
    return Library.open(path, encoder=ENCODER, **options)


def put(library: Library, name: str, text: str, *, size: int = 20, metadata: Mapping[str, Scalar] = {}, **fields):
    """Ingest one text as the source `name`; returns its document and chunks."""
    document = Document(name, text, source=name, metadata=dict(metadata), **fields)
    chunks = cut(document, size)
    put_chunks(library, name, [(document, chunks)])
    return document, chunks


def put_chunks(
    library: Library, name: str, documents: Sequence[tuple[Document, Sequence[Chunk]]], *, said: Sequence[str] = ()
) -> None:
    """Ingest documents as one source; `said` of the places of its chunks, in order."""
    ids = [c.id for _, chunks in documents for c in chunks]
    texts = {vector_key(c.text, ENCODER.fingerprint): c.text for _, chunks in documents for c in chunks}
    if lacking := sorted(library.missing(list(texts))):
        library.add_vectors(lacking, ENCODER.encode([texts[key] for key in lacking]))
    library.replace(SourceRow(name, digest=str(len(documents))), documents, said=dict(zip(ids, said)))


@contextmanager
def over_a_library(path: Path, sample: MemoryCorpus) -> Iterator[LibraryCorpus]:
    """The documents and chunks of a corpus in memory, as a library under `path` with a flat index shows them."""
    encoder = sample.encoder
    with Library.open(path, encoder=encoder) as library:
        for name in dict.fromkeys(c.document_id for c in sample.chunks()):
            take(library, name, sample)
        index = EmbeddedStore(path=path, index="flat").open(library)
        try:
            index.sync()
            yield LibraryCorpus(library, index, encoder)
        finally:
            index.close()


def take(library: Library, name: str, sample: MemoryCorpus) -> None:
    """Put one document of `sample` into a library."""
    chunks = [c for c in sample.chunks() if c.document_id == name]
    keys = [vector_key(c.text, sample.encoder.fingerprint) for c in chunks]
    library.add_vectors(keys, sample.vectors(chunks))
    library.replace(SourceRow(name, digest=name, recipe="test"), [(sample.document(name), chunks)])


def contents(library: Library) -> dict[str, tuple[Document, list[Chunk]]]:
    """Everything there is, by document."""
    return {d.id: (d, library.chunks_of(d.id)) for d in library.documents()}


def older(path: Path, version: int) -> None:
    """Make the library what an older Fovea wrote, of format 1 or 2."""
    with Library.open(path, read_only=True) as library:
        nos = library.no_of([c.id for c in library.chunks()])
        rows = [(nos[c.id], " ".join(index_terms(c.text))) for c in library.chunks()]
    db = sqlite3.connect(path / FILE)
    for table in ("postings", "segments", "dead", *(["situations"] if version == 1 else [])):
        db.execute(f"DROP TABLE {table}")
    db.execute("CREATE VIRTUAL TABLE lexicon USING fts5(words, content='', tokenize='ascii')")
    db.executemany("INSERT INTO lexicon (rowid, words) VALUES (?, ?)", rows)
    db.execute(f"PRAGMA user_version = {version}")
    db.commit()
    db.close()
