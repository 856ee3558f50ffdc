"""Give each passage the chunks around it, and make one passage of those that touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from pydantic import NonNegativeInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.errors import QueryError
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Chunk, Hit, Query, Span


class Neighbours(Refiner, name="neighbours"):
    """Extends every hit by the chunks before and after it in its document. Passages that then overlap or touch become
    one, in the place and with the score of the best of them. With `before: 0, after: 0` it only joins.

    What comes out is sliced from the document, so its offsets hold, but it is no chunk of the corpus any more: stages
    that look up stored vectors come before this one.
    """

    spoils: ClassVar[frozenset[str]] = frozenset({"token budget"})

    before: NonNegativeInt = 1
    """How many chunks in front of a hit are added to it."""
    after: NonNegativeInt = 1
    """How many chunks behind a hit are added to it."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """As many hits or fewer, in the order of the best in each. O(hits log hits)."""
        spans = [self._grown(hit.chunk, corpus) for hit in hits]
        return [self._joined([hits[i] for i in members], span, corpus) for members, span in _groups(hits, spans)]

    def _grown(self, chunk: Chunk, corpus: Corpus) -> Span:
        if not self.before and not self.after:
            return Span(chunk.start, chunk.end)
        try:
            around = corpus.neighbours(chunk, self.before, self.after)
        except QueryError:
            trace.warn("neighbours: a passage from outside the store has none")
            return Span(chunk.start, chunk.end)
        return Span(min(c.start for c in around), max(c.end for c in around))

    def _joined(self, hits: Sequence[Hit], span: Span, corpus: Corpus) -> Hit:
        best = hits[0]
        if (best.chunk.start, best.chunk.end) == (span.start, span.end):
            grown = best
        else:
            grown = replace(best, chunk=corpus.document(best.chunk.document_id).chunk(span))
        for hit in hits:
            if hit is not best:
                trace.current().drop(hit, f"joined to {grown.chunk.where}")
            elif grown is not best:
                trace.current().drop(hit, f"grown to {grown.chunk.where}")
        return grown


def _groups(hits: Sequence[Hit], spans: Sequence[Span]) -> list[tuple[list[int], Span]]:
    """Hits whose spans overlap or touch, best first, with the span they cover; the group of the best hit first."""
    documents = [hit.chunk.document_id for hit in hits]
    groups: list[tuple[list[int], Span]] = []
    for i in sorted(range(len(hits)), key=lambda i: (documents[i], spans[i].start)):
        members, span = groups[-1] if groups else ([], Span(0, 0))
        if members and documents[members[0]] == documents[i] and spans[i].start <= span.end:
            groups[-1] = ([*members, i], Span(span.start, max(span.end, spans[i].end)))
        else:
            groups.append(([i], spans[i]))
    return sorted(((sorted(members), span) for members, span in groups), key=lambda group: group[0])
