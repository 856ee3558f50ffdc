"""Pairs of neighbouring paragraphs: what of their sentences' vectors tells whether they are on one topic.

For paragraphs with the mean sentence vectors m and n of a text with the mean c, and ^ for scaling to length 1:

    sqrt(dim) |m^ - n^|, dim m^ n^          element by element, so that numbers are about 1
    <m^, n^>                                cosine
    <(m - c)^, (n - c)^>                    cosine of what tells them from their text
    <last^, first^>, <(last - c)^, (first - c)^>   the same for the sentences that meet
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fovea.segmenters.blocks import unit

COSINES = 4


@dataclass(frozen=True)
class Paragraphs:
    """Paragraphs by their sentence vectors: float32 `(paragraphs, dim)` each."""

    mean: np.ndarray
    """Of the paragraph's units."""
    first: np.ndarray
    last: np.ndarray
    middle: np.ndarray
    """The mean over all units of the text that the paragraph is in."""

    @classmethod
    def between(cls, vectors: np.ndarray, edges: Sequence[int]) -> Paragraphs:
        """Paragraphs of one text by where they begin and the last ends, n + 1 rising numbers of units; `vectors` are
        those of its units, `(units, dim)`.
        """
        starts, stops = np.array(edges[:-1]), np.array(edges[1:])
        inside = vectors[edges[0] : edges[-1]]
        mean = np.add.reduceat(inside, starts - edges[0]) / (stops - starts)[:, None]
        middle = np.broadcast_to(inside.mean(0), mean.shape)
        return cls(mean.astype(np.float32), vectors[starts], vectors[stops - 1], middle)

    @classmethod
    def joined(cls, parts: list[Paragraphs]) -> Paragraphs:
        """Those of several texts, one after the other."""
        return cls(*(np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])))

    def __len__(self) -> int:
        return len(self.mean)


def features(paragraphs: Paragraphs, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """What a head reads of the pairs of paragraphs `left` and `right`, int `(pairs,)` each: float32
    `(pairs, 2 * dim + 4)`. Both are seen as parts of the text that the left one is in.
    """
    m, n, dim = paragraphs.mean[left], paragraphs.mean[right], paragraphs.mean.shape[1]
    last, first, c = paragraphs.last[left], paragraphs.first[right], paragraphs.middle[left]
    u, v = unit(m), unit(n)
    cosines = [_cosine(m, n), _cosine(m - c, n - c), _cosine(last, first), _cosine(last - c, first - c)]
    return np.concatenate([np.abs(u - v) * np.sqrt(np.float32(dim)), u * v * dim, np.stack(cosines, 1)], 1)


def same_topic(read: np.ndarray, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """How likely the paragraphs of each pair are on one topic, of its `features`: float32 `(pairs,)`.

    sigmoid(w2 . relu(W1 f + b1) + w3 . cosines + b2)
    """
    hidden = np.maximum(read @ arrays["hidden.weight"].T + arrays["hidden.bias"], 0)
    logit = hidden @ arrays["out.weight"][0] + read[:, -COSINES:] @ arrays["cosines.weight"][0] + arrays["out.bias"][0]
    return 1 / (1 + np.exp(-np.clip(logit, -30, 30)))


def _cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (unit(a) * unit(b)).sum(1)
