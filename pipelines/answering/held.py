"""What a prompt holds where whole texts are read once: a document or a part of it, a folder, or the whole collection.

    documents    the document that the hits speak for best; of one that is longer than the window, the part
    folders      all documents of the folder in which that document lies
    collection   all documents

A document's score is the sum of 1 / rank over its hits, a part's the same over the hits whose middle lies in it; of
equals the first wins.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import PurePosixPath
from typing import Any, Protocol

from fovea.rag.errors import QueryError
from fovea.rag.types import Chunk, Document, Hit, Span


class Documents(Protocol):
    """A corpus, or a library."""

    def document(self, document_id: str) -> Document:
        """A whole document; raises QueryError for an unknown id."""

    def document_sources(self) -> Iterator[tuple[str, str]]:
        """The id and the source of every document."""


@dataclass(frozen=True)
class Held:
    """The passages of a prompt, `hits`, and what they are: `kind` and `name` of the text, its `digest`, and which
    characters of a document, where it is read in parts.
    """

    hits: tuple[Hit, ...]
    kind: str
    name: str
    digest: str
    part: Span | None = None

    @property
    def about(self) -> dict[str, Any]:
        """The same as plain data, kept beside the cache."""
        part = [self.part.start, self.part.end] if self.part is not None else None
        return {"kind": self.kind, "name": self.name, "text": self.digest, "part": part}

    @property
    def where(self) -> str:
        """How people name it."""
        if self.kind == "documents":
            return self.hits[0].chunk.where if self.part is not None else self.hits[0].chunk.source or self.name
        return f"the folder {self.name!r}" if self.kind == "folders" else "the collection"


def of_document(document: Document, span: Span | None = None) -> Held:
    """A whole document, or `span` of it."""
    hit = Hit(document.chunk(Span(0, len(document.text)) if span is None else span), 1.0)
    return Held((hit,), "documents", document.id, digest([document]), span)


def of_many(kind: str, name: str, documents: Sequence[Document]) -> Held:
    """Whole documents, in order."""
    hits = tuple(Hit(document.chunk(Span(0, len(document.text))), 1.0) for document in documents)
    return Held(hits, kind, name, digest(documents))


def pages_of(held: Held, corpus: Documents) -> Iterator[Chunk]:
    """What is held of a document, page by page where it has pages: the fields of each are the same all over it."""
    for hit in held.hits:
        document, whole = corpus.document(hit.chunk.document_id), hit.chunk
        starts = [whole.start, *(page for page in document.pages if whole.start < page < whole.end)]
        yield from (document.chunk(Span(*span)) for span in zip(starts, [*starts[1:], whole.end]))


def digest(documents: Iterable[Document]) -> str:
    """A hash of all that a prompt shows of documents."""
    found = blake2b(digest_size=16)
    for document in documents:
        for text in (document.id, document.source, document.title, document.media_type, document.text):
            said = text.encode("utf-8", "surrogatepass")
            found.update(len(said).to_bytes(8, "little") + said)
    return found.hexdigest()


def digest_of(text: str) -> str:
    """A hash of a passage."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def best_document(hits: Sequence[Hit]) -> str:
    """The id of the document with the largest sum of 1 / rank over its hits."""
    score: dict[str, float] = defaultdict(float)
    for rank, hit in enumerate(hits, 1):
        score[hit.chunk.document_id] += 1 / rank
    return max(score, key=lambda name: score[name])


def best_part(parts: Sequence[Span], hits: Sequence[Hit], document_id: str) -> Span:
    """The part with the largest sum of 1 / rank over the hits of the document whose middle lies in it."""
    score = dict.fromkeys(range(len(parts)), 0.0)
    for rank, hit in enumerate(hits, 1):
        if hit.chunk.document_id == document_id:
            middle = (hit.chunk.start + hit.chunk.end) // 2
            score[max((n for n, part in enumerate(parts) if part.start <= middle), default=0)] += 1 / rank
    return parts[max(score, key=lambda n: score[n])]


def folder_of(source: str) -> str:
    """The folder in which a source lies: `.` for one without."""
    return str(PurePosixPath(source.replace("\\", "/")).parent)


def names_in(folder: str | None, documents: Documents) -> list[str]:
    """The ids of the documents of a folder, or of all, by source and id. Linear in the documents of the store."""
    named = sorted((source, name) for name, source in documents.document_sources())
    return [name for source, name in named if folder is None or folder_of(source) == folder]


def is_stale(about: Mapping[str, Any], documents: Documents) -> bool:
    """Whether the text that a cache is of has changed or gone. What is of another kind than these is not known."""
    kind, name = about.get("kind"), str(about.get("name"))
    try:
        match kind:
            case "documents":
                now = [documents.document(name)]
            case "folders" | "collection":
                names = names_in(name if kind == "folders" else None, documents)
                now = [documents.document(each) for each in names]
            case "passages":
                start, end = about.get("part", (0, 0))
                return digest_of(documents.document(name).text[start:end]) != about.get("text")
            case _:
                return False
    except QueryError:
        return True
    return digest(now) != about.get("text")
