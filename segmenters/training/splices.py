"""Spliced texts, made of pieces of several as F. Choi made his ("Advances in domain independent linear text
segmentation", 2000), of texts of one's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from segmenters.training.loop import seed_of

LENGTHS = ((3, 11), (3, 5), (6, 8), (9, 11), (2, 16))
"""Units in a piece, fewest and most; a text has pieces of one of these."""
PIECES = (4, 12)


def splices(vectors: Sequence[np.ndarray], seed: int, count: int = 60) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """`count` texts: vectors float32 `(units, dim)`, and where their pieces end, bool `(gaps,)`."""
    for number in range(count):
        rng = np.random.default_rng(seed_of(seed, -2 - number))
        least, most = LENGTHS[rng.integers(len(LENGTHS))]
        texts = rng.integers(len(vectors), size=int(rng.integers(*PIECES))).tolist()
        pieces = [_piece(vectors[text], least, most, rng) for text in texts]
        ends = np.zeros(sum(map(len, pieces)) - 1, bool)
        ends[np.cumsum([len(piece) for piece in pieces])[:-1] - 1] = True
        yield np.concatenate(pieces), ends


def _piece(vectors: np.ndarray, least: int, most: int, rng: np.random.Generator) -> np.ndarray:
    size = min(len(vectors), int(rng.integers(least, most + 1)))
    at = int(rng.integers(len(vectors) - size + 1))
    return vectors[at : at + size]
