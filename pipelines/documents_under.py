"""Documents as the ways in may show them: listed and read under a scope, a filter that no caller can widen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fovea.pipelines.pipeline import Pipeline
from fovea.rag.documents import Document, Span, place
from fovea.rag.errors import QueryError
from fovea.rag.fields import fields
from fovea.rag.filters import Filter, matches


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document without its text. `characters` is the length of its text; `pages` is 0 where it has none."""

    id: str
    source: str
    title: str
    media_type: str
    characters: int
    pages: int


@dataclass(frozen=True, slots=True)
class SpanRow:
    """The characters `[start, end)` of a document, and the page on which they begin."""

    document: str
    source: str
    start: int
    end: int
    page: int | None
    text: str
    characters: int


def documents_under(
    pipeline: Pipeline, scope: Filter | None = None, query: str = "", after: str = "", limit: int = 50
) -> list[DocumentRow]:
    """Up to `limit` documents of the store by rising id, from behind `after`, whose id, source or title has `query` in
    it, capitals aside. Under a `scope` only those with a page that matches.
    """
    corpus, found = pipeline.corpus, list[DocumentRow]()
    for name in sorted(name for name, _ in corpus.document_sources() if name > after):
        document = corpus.document(name)
        held = f"{document.id}\n{document.source}\n{document.title}".casefold()
        if query.casefold() in held and (scope is None or any(_open_pages(document, scope))):
            found.append(_row(document))
        if len(found) == limit:
            break
    return found


def span_under(
    pipeline: Pipeline, document_id: str, start: int = 0, end: int | None = None, scope: Filter | None = None
) -> SpanRow:
    """Characters `[start, end)` of a document, to its end where `end` is None or lies behind it. Raises QueryError for
    a document that is not there or, which looks the same, that lies outside the scope, for a place outside the text,
    and where a page of the span lies outside the scope.
    """
    unknown = QueryError(f"there is no document {document_id!r}", fix="list the documents for their ids")
    if document_id not in (known := dict(pipeline.corpus.document_sources())):
        raise unknown
    document = pipeline.corpus.document(document_id)
    if scope is not None and not any(_open_pages(document, scope)):
        raise unknown
    length = len(document.text)
    end = length if end is None else min(end, length)
    if not 0 <= start <= end:
        named = place(document_id, known[document_id])
        raise QueryError(f"{named} has the characters 0 to {length}, and [{start}, {end}) is no part of them")
    if scope is not None and not all(_open_pages(document, scope, Span(start, end))):
        raise QueryError("a page of this span lies outside what may be read here", where=f"{start}-{end}")
    text = document.text[start:end]
    return SpanRow(document.id, document.source, start, end, document.page_at(start), text, length)


def _open_pages(document: Document, scope: Filter, span: Span | None = None) -> Iterator[bool]:
    """Of each page, those of the span or all, whether it matches."""
    span = span or Span(0, len(document.text))
    first, last = document.page_at(span.start), document.page_at(max(span.start, span.end - 1))
    for page in range(first, last + 1) if first and last else [None]:
        seen = fields(document.source, document.title, document.media_type, page, document.metadata)
        yield matches(scope, seen)


def _row(d: Document) -> DocumentRow:
    return DocumentRow(d.id, d.source, d.title, d.media_type, len(d.text), len(d.pages))
