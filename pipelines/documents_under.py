"""Documents under a filter: which there are, and the text of one. What every way in from outside needs."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from fovea.rag.documents import Document
from fovea.rag.errors import QueryError
from fovea.rag.fields import fields
from fovea.rag.filters import Filter, matches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fovea.pipelines.pipeline import Pipeline


class NoDocument(QueryError):
    """There is no such document, or none that the filter lets through: the two are not told apart."""


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document without its text: `length` are its characters."""

    id: str
    source: str
    title: str
    media_type: str
    length: int
    pages: int


@dataclass(frozen=True, slots=True)
class SpanUnder:
    """The characters `[start, end)` of a document, which has `length` of them, and the page on which they begin."""

    document: str
    source: str
    start: int
    end: int
    length: int
    text: str
    page: int | None


def documents_under(
    pipeline: Pipeline, scope: Filter | None = None, query: str = "", after: str = "", limit: int = 100
) -> list[DocumentRow]:
    """The first `limit` documents behind the id `after` that match `scope`, in order of their ids; with `query`, those
    whose id, source or title holds it, capitals aside.
    """
    wanted = query.casefold()
    found = (d for d in _documents(pipeline, scope, after) if wanted in f"{d.id}\n{d.source}\n{d.title}".casefold())
    return [DocumentRow(d.id, d.source, d.title, d.media_type, len(d.text), len(d.pages)) for d in islice(found, limit)]


def span_under(
    pipeline: Pipeline, document_id: str, start: int = 0, end: int | None = None, scope: Filter | None = None
) -> SpanUnder:
    """The characters `[start, end)` of a document that matches `scope`; without `end`, to its end. Raises NoDocument
    for one that is not there or not in the scope, QueryError for a span that is none.
    """
    known = {name for name, _ in pipeline.corpus.document_sources()}
    document = pipeline.corpus.document(document_id) if document_id in known else None
    if document is None or not _matches(document, scope):
        raise NoDocument(f"there is no document {document_id!r}", fix="the list of documents has the ids")
    length = len(document.text)
    stop = min(length if end is None else end, length)
    if not 0 <= start <= stop:
        raise QueryError(f"the span {start}-{stop} is not within the {length:,} characters of {document_id!r}")
    text = document.text[start:stop]
    return SpanUnder(document.id, document.source, start, stop, length, text, document.page_at(start))


def _documents(pipeline: Pipeline, scope: Filter | None, after: str) -> Iterator[Document]:
    for name in sorted(name for name, _ in pipeline.corpus.document_sources() if name > after):
        if _matches(document := pipeline.corpus.document(name), scope):
            yield document


def _matches(d: Document, scope: Filter | None) -> bool:
    return scope is None or matches(scope, fields(d.source, d.title, d.media_type, None, d.metadata))
