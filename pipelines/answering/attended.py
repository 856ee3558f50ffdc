"""Where the model looked: the attention that an answer's tokens gave to a prompt, as spans of the documents.

Attention is no proof: heads look at much that they do not use. It shows which passages played no part, and where in a
long one to look first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fovea.rag.sentences import sentences
from fovea.rag.types import Hit

SPANS = 3
"""Sentences that are named for a passage."""
GAP = 1
"""Words that may stand between two of a phrase."""
WORD = re.compile(r"\w+(?:['’.,-]\w+)*")
"""A word, with what joins its parts."""


def looked_at(
    prompt: str, offsets: Sequence[tuple[int, int]], attention: np.ndarray, hits: Sequence[Hit]
) -> list[dict[str, Any]]:
    """For each passage of the prompt its share of the attention, and its most attended sentences, best first.

    `attention` is (tokens,), summing to at most 1 over prompt and answer; a token that lies in two spans counts by
    characters.
    A passage is {"passage": number, "chunk": id, "share": ..., "spans": [{"start", "end", "share"}]}; the positions are
    those of the document.
    """
    density = by_character(len(prompt), offsets, attention)
    found = []
    for number, (hit, start) in enumerate(zip(hits, places(prompt, hits)), 1):
        if start is None:
            continue  # a template rewrote the text
        mine = density[start : start + len(hit.chunk.text)]
        spans = [
            {"start": hit.chunk.start + low, "end": hit.chunk.start + high, "share": share}
            for low, high, share in shares(hit.chunk.text, mine)
        ]
        best = sorted(spans, key=lambda span: -span["share"])[:SPANS]
        share = round(float(mine.sum()), 4)
        found.append({"passage": number, "chunk": hit.chunk.id, "share": share, "spans": best})
    return found


def by_character(length: int, offsets: Sequence[tuple[int, int]], attention: np.ndarray) -> np.ndarray:
    """What each of `length` characters got: a token's attention is spread evenly over its characters."""
    density = np.zeros(length)
    for (start, end), share in zip(offsets, attention):
        if end > start:
            density[start:end] += share / (end - start)
    return density


def places(text: str, hits: Sequence[Hit]) -> list[int | None]:
    """Where the text of each hit begins in a prompt that holds them in their order; None: a template rewrote it.

    Between tags, as `prompt.passages` puts them, where it stands so: a short text may be in an instruction or a title.
    """
    at, found = 0, []
    for hit in hits:
        tagged = text.find(f">\n{hit.chunk.text}\n</", at)
        start = text.find(hit.chunk.text, at) if tagged < 0 else tagged + len(">\n")
        found.append(None if start < 0 else start)
        at = at if start < 0 else start + len(hit.chunk.text)
    return found


def shares(text: str, density: np.ndarray) -> Iterator[tuple[int, int, float]]:
    """The sentences of a passage and what each got: (start, end, share)."""
    for span in sentences(text):
        yield span.start, span.end, round(float(density[span.start : span.end].sum()), 4)


def most_of_a_word(text: str, density: np.ndarray) -> float:
    """What the most attended word of a passage got."""
    return max((float(density[slice(*word.span())].sum()) for word in WORD.finditer(text)), default=0.0)


def phrases(text: str, density: np.ndarray, floor: float) -> Iterator[tuple[int, int, float]]:
    """Stretches of words that got `floor` or more each, with at most `GAP` others between two of them, inside a
    sentence: (start, end, share), the share that of the whole stretch.
    """
    for sentence in sentences(text):
        run: list[tuple[int, int]] = []
        gap = 0
        for word in WORD.finditer(text, sentence.start, sentence.end):
            if density[word.start() : word.end()].sum() >= floor:
                run.append(word.span())
                gap = 0
            elif run and (gap := gap + 1) > GAP:
                yield _stretch(run, density)
                run = []
        if run:
            yield _stretch(run, density)


def _stretch(words: Sequence[tuple[int, int]], density: np.ndarray) -> tuple[int, int, float]:
    start, end = words[0][0], words[-1][1]
    return start, end, round(float(density[start:end].sum()), 4)
