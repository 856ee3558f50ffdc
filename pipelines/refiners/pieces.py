"""A long text as the sentences that a model reads of it, step by step: each with its place and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from fovea.rag.sentences import sentences
from fovea.rag.types import Span
from fovea.rag.windows import text_windows
from fovea.rag.wordpieces import ModelTokenizer


class Piece(NamedTuple):
    """A sentence, or a part of a long one: the characters [start, end) of a text, [start, stop) up to the next piece,
    and the tokens of the latter, a line break counted.
    """

    number: int
    start: int
    end: int
    stop: int
    tokens: int


def pieces(text: str, tokenizer: ModelTokenizer, most: int) -> list[Piece]:
    """All of the text but white space before the first sentence, in pieces of `most` tokens or fewer; a character of
    more is a piece too. Linear in the text.
    """
    spans = sentences(text)
    starts = [*(span.start for span in spans), len(text)]
    parts = list(_parts(text, spans, starts, tokenizer, most))
    counts = tokenizer.count_many([text[start:stop] for start, _, stop in parts])
    return [Piece(n, *part, count + 1) for n, (part, count) in enumerate(zip(parts, counts))]


def _parts(
    text: str, spans: Sequence[Span], starts: Sequence[int], tokenizer: ModelTokenizer, most: int
) -> Iterator[tuple[int, int, int]]:
    counts = tokenizer.count_many([text[start:stop] for start, stop in pairwise(starts)])
    for span, (start, stop), count in zip(spans, pairwise(starts), counts):
        if count < most:
            yield start, span.end, stop
            continue
        for window in text_windows(text[start:stop], tokenizer, max(most - 1, 1)):
            yield start, min(start + len(window), max(span.end, start)), start + len(window)
            start += len(window)


def steps(found: Iterable[Piece], most: int) -> Iterator[list[Piece]]:
    """Consecutive pieces of `most` tokens together, or fewer."""
    step: list[Piece] = []
    for piece in found:
        if step and sum(one.tokens for one in step) + piece.tokens > most:
            yield step
            step = []
        step.append(piece)
    if step:
        yield step


def runs(found: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The pieces that are neighbours in the text, together, in its order."""
    run: list[Piece] = []
    for piece in sorted(found):
        if run and piece.number != run[-1].number + 1:
            yield run
            run = []
        run.append(piece)
    if run:
        yield run
