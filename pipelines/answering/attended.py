"""Where the model looked: the attention that an answer's tokens gave to a prompt, as spans of the documents.

Attention is no proof: heads look at much that they do not use. It shows which passages played no part, and where in a
long one to look first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fovea.rag.sentences import sentences
from fovea.rag.types import Hit

SPANS = 3
"""Sentences that are named for a passage."""


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
    found, at = [], 0
    for number, hit in enumerate(hits, 1):
        start = prompt.find(hit.chunk.text, at)
        if start < 0:
            continue  # a template rewrote the text
        at = start + len(hit.chunk.text)
        spans = [
            {"start": hit.chunk.start + low, "end": hit.chunk.start + high, "share": share}
            for low, high, share in _shares(hit.chunk.text, density[start:at])
        ]
        best = sorted(spans, key=lambda span: -span["share"])[:SPANS]
        share = round(float(density[start:at].sum()), 4)
        found.append({"passage": number, "chunk": hit.chunk.id, "share": share, "spans": best})
    return found


def by_character(length: int, offsets: Sequence[tuple[int, int]], attention: np.ndarray) -> np.ndarray:
    """What each of `length` characters got: a token's attention is spread evenly over its characters."""
    density = np.zeros(length)
    for (start, end), share in zip(offsets, attention):
        if end > start:
            density[start:end] += share / (end - start)
    return density


def _shares(text: str, density: np.ndarray) -> Iterator[tuple[int, int, float]]:
    for span in sentences(text):
        yield span.start, span.end, round(float(density[span.start : span.end].sum()), 4)
