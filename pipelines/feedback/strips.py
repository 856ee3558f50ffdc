"""Strips: the sentences of a passage as passages of their own, and runs of them put together again.

All are sliced from the document, so `document.text[start:end]` is their text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fovea.rag.corpus import Corpus
from fovea.rag.sentences import sentences
from fovea.rag.types import Hit, Span


def split(hit: Hit, corpus: Corpus) -> list[Hit]:
    """The sentences of a hit, in reading order, with its scores. Linear in its length."""
    document, at = corpus.document(hit.chunk.document_id), hit.chunk.start
    spans = [Span(at + s.start, at + s.end) for s in sentences(hit.chunk.text)]
    return [replace(hit, chunk=document.chunk(span)) for span in spans]


def joined(strips: Sequence[Hit | None], corpus: Corpus) -> list[Hit]:
    """One hit for each run of sentences without a gap (None) between them, with the highest of their scores."""
    runs: list[list[Hit]] = [[]]
    for strip in strips:
        if strip is not None:
            runs[-1].append(strip)
        elif runs[-1]:
            runs.append([])
    return [_whole(run, corpus) for run in runs if run]


def _whole(run: list[Hit], corpus: Corpus) -> Hit:
    best = max(run, key=lambda strip: strip.score)
    span = Span(run[0].chunk.start, run[-1].chunk.end)
    return replace(best, chunk=corpus.document(best.chunk.document_id).chunk(span))
