"""How well retrieved passages cover the spans that answer a question, by characters.

For a question with gold spans e and retrieved passages t, in rank order, of any documents:

    recall           |union(t) & e| / |e|
    precision        |union(t) & e| / sum |t|              every passage counts, also what two of them share
    IoU              |union(t) & e| / (sum |t| + |e - union(t)|)
    precision omega  |union(c) & e| / (|union(c)| + |e - union(c)|), c all chunks of the corpus that touch e:
                     the precision of a perfect retriever, so of the chunking alone

B. Smith and A. Troynikov, "Evaluating chunking strategies for retrieval" (Chroma, 2024). Two switches give the numbers
of their released code where it differs: `twice=True` (the default) is theirs, and so is `closed=True`, by which a chunk
that only abuts a gold span touches it.

Spans of all documents lie on one number line (`Line`), as int64 arrays `(spans, 2)`; a list of arrays holds one a
question. For intervals, and for paired differences, pass the per-question arrays to
`fovea.pipelines.evaluation.measurements.interval`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from fovea.rag.errors import QueryError

Spans = np.ndarray
"""int64 `(spans, 2)`, half-open, on one line."""


class Line:
    """All documents one after the other, so that a span of any of them is two numbers."""

    def __init__(self, lengths: Mapping[str, int]) -> None:
        self._starts = dict(zip(lengths, accumulate(lengths.values(), initial=0)))
        self._lengths = dict(lengths)

    def spans(self, places: Iterable[tuple[str, int, int]]) -> Spans:
        """(document, start, end) as int64 `(places, 2)`; raises QueryError for a place outside its document."""
        found = []
        for document, start, end in places:
            if not 0 <= start <= end <= self._lengths.get(document, -1):
                raise QueryError(
                    f"no span [{start}, {end}) in document {document!r}", got=document, allowed=self._lengths
                )
            found.append((self._starts[document] + start, self._starts[document] + end))
        return np.array(found, dtype=np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class SpanScores:
    """One number a question, float64 `(questions,)`."""

    recall: np.ndarray
    precision: np.ndarray
    iou: np.ndarray


def union(spans: Spans) -> Spans:
    """The same characters as rising spans that neither overlap nor touch. O(n log n)."""
    spans = spans[spans[:, 1] > spans[:, 0]]
    if not len(spans):
        return spans
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    ends = np.maximum.accumulate(spans[:, 1])
    first = np.concatenate([[True], spans[1:, 0] > ends[:-1]])
    last = np.concatenate([first[1:], [True]])
    return np.stack([spans[first, 0], ends[last]], axis=1)


def covered(spans: Spans, by: Spans) -> np.ndarray:
    """How many characters of each of `spans` lie in any of `by`: int64 `(spans,)`. O(n log n)."""
    merged = union(by)
    before = np.concatenate([[0], np.cumsum(merged[:, 1] - merged[:, 0])])

    def below(points: np.ndarray) -> np.ndarray:
        index = np.searchsorted(merged[:, 0], points, side="right")
        ends = merged[np.maximum(index - 1, 0), 1] if len(merged) else np.zeros(len(points), np.int64)
        return before[index] - np.where(index > 0, np.maximum(ends - points, 0), 0)

    return below(spans[:, 1]) - below(spans[:, 0])


def length(spans: Spans) -> int:
    """Characters in all spans, shared ones counted again."""
    return int((spans[:, 1] - spans[:, 0]).sum())


def score(golds: Sequence[Spans], found: Sequence[Spans], *, twice: bool = True) -> SpanScores:
    """Recall, precision and IoU of each question. `twice=False` counts characters that passages share once.

    A question without gold characters is a QueryError: it has no recall. Nothing retrieved is precision 0.
    """
    rows = []
    for number, (gold, passages) in enumerate(zip(golds, found, strict=True)):
        gold = union(gold)
        if not (wanted := length(gold)):
            raise QueryError(f"question {number} has no gold characters")
        hit = int(covered(gold, passages).sum())
        read = length(passages if twice else union(passages))
        rows.append((hit / wanted, hit / read if read else 0.0, hit / (read + wanted - hit)))
    recall, precision, iou = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return SpanScores(recall, precision, iou)


def precision_omega(golds: Sequence[Spans], chunks: Spans, *, closed: bool = False) -> np.ndarray:
    """The precision a perfect retriever would have with these chunks: float64 `(questions,)`.

    `closed=True` lets a chunk that abuts a gold span touch it. O(questions * chunks).
    """
    scores = []
    for gold in map(union, golds):
        starts, ends = chunks[:, :1], chunks[:, 1:]
        touches = (starts <= gold[:, 1]) & (ends >= gold[:, 0])
        if not closed:
            touches = (starts < gold[:, 1]) & (ends > gold[:, 0])
        around = union(chunks[touches.any(axis=1)])
        hit = int(covered(gold, around).sum())
        whole = length(around) + length(gold) - hit
        scores.append(hit / whole if whole else 0.0)
    return np.array(scores, dtype=np.float64)


def within_budget(passages: Spans, tokens: Sequence[int] | np.ndarray, budget: int) -> Spans:
    """What of ranked passages fills a context of `budget` tokens; the last is cut off where the budget ends.

    `tokens` holds each passage's size `(passages,)`; the cut passage keeps its beginning, in proportion of its tokens.
    """
    sizes = np.asarray(tokens, dtype=np.int64)
    left = budget - np.concatenate([[0], np.cumsum(sizes)[:-1]]) if len(sizes) else sizes
    share = np.clip(left / np.maximum(sizes, 1), 0, 1)
    kept = passages.copy()
    kept[:, 1] = passages[:, 0] + np.floor((passages[:, 1] - passages[:, 0]) * share).astype(np.int64)
    return kept[left > 0]
