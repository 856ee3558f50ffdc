"""Documents under a filter: which there are, and the text of one. What every way in from outside needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from fovea.rag.errors import QueryError
from fovea.rag.filters import Filter

if TYPE_CHECKING:
    from fovea.pipelines.pipeline import Pipeline
    from fovea.retrievers.library.listing import DocumentRow

MOST = 1000
"""Documents of one page of a list."""
LONGEST = 1_000_000
"""Characters of one span."""


class NoDocument(QueryError):
    """There is no such document, or none that the filter lets through: the two are not told apart."""


@dataclass(frozen=True, slots=True)
class SpanUnder:
    """The characters `[start, end)` of a document, which has `length` of them; `page` is that of the first, from 1."""

    document: str
    source: str
    title: str
    start: int
    end: int
    length: int
    text: str
    page: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        return asdict(self)


def documents_under(
    pipeline: Pipeline, scope: Filter | None = None, query: str = "", after: str = "", limit: int = 100
) -> list[DocumentRow]:
    """The first `limit` documents behind the id `after` that match `scope`, in order of their ids; with `query`, those
    whose id, source or title holds it, capitals aside. A document matches with any of its chunks; one without chunks
    is listed where there is no scope. Raises StoreError where nothing was ingested.
    """
    wanted = query.casefold()
    with pipeline.reading() as corpus:
        rows = corpus.library.listed(scope, after)
        found = (row for row in rows if any(wanted in text.casefold() for text in (row.id, row.source, row.title)))
        return list(islice(found, max(0, min(limit, MOST))))


def span_under(
    pipeline: Pipeline, document_id: str, start: int = 0, end: int | None = None, scope: Filter | None = None
) -> SpanUnder:
    """The characters `[start, end)` of a document that matches `scope`, at most LONGEST; without `end`, to its end.
    Raises NoDocument for one that is not there or not in the scope, QueryError for a span that is none.
    """
    with pipeline.reading() as corpus:
        if not corpus.library.holds(document_id, scope):
            raise NoDocument(f"there is no document {document_id!r}", fix="the list of documents has the ids")
        document = corpus.library.document(document_id)
    length = len(document.text)
    stop = min(length if end is None else end, start + LONGEST, length)
    if not 0 <= start <= stop or (end is not None and end < start):
        asked = f"{start}-{'' if end is None else end}"
        raise QueryError(
            f"the span {asked} is not within the {length:,} characters of {document_id!r}", where="start, end"
        )
    text = document.text[start:stop]
    page = document.page_at(start)
    return SpanUnder(document.id, document.source, document.title, start, stop, length, text, page)
