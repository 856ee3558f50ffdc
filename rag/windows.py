"""Texts longer than a model reads: cut into windows of equal size, read one by one, and joined by their mean.

For windows w of a text with vectors v_w and token counts n_w, the text's vector is sum(n_w v_w), scaled to unit length.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from fovea.rag.encoder import Tokenizer

if TYPE_CHECKING:
    import numpy as np


def windows(tokens: int, most: int | None) -> list[tuple[int, int]]:
    """The fewest consecutive ranges of `0..tokens` with at most `most` in each, sizes as equal as can be."""
    if most is None or tokens <= most:
        return [(0, tokens)]
    count = -(-tokens // most)
    edges = [tokens * i // count for i in range(count + 1)]
    return list(pairwise(edges))


def around(start: int, end: int, most: int, length: int) -> tuple[int, int]:
    """`[start, end)` widened to `most` within `[0, length)`, as far on either side where there is room; what one side
    has no use for the other gets. A range that is as long already stays as it is.
    """
    room = max(0, most - (end - start))
    before = min(start, max(room // 2, room - (length - end)))
    return start - before, min(length, end + room - before)


def text_windows(text: str, tokenizer: Tokenizer, most: int | None) -> list[str]:
    """Consecutive pieces of `text` that the tokenizer counts as at most `most`; nothing between them is left out.

    A piece may count differently than the same characters inside the whole text, so each is counted again and halved
    where it is over.
    """
    if most is None or tokenizer.count(text) <= most:
        return [text]
    starts = [int(start) for start, _ in tokenizer.offsets(text)]
    cuts = [0, *(starts[a] for a, _ in windows(len(starts), most)[1:]), len(text)]
    return [part for a, b in pairwise(cuts) for part in _fitting(text[a:b], tokenizer, most)]


def _fitting(text: str, tokenizer: Tokenizer, most: int) -> Iterator[str]:
    if len(text) <= 1 or tokenizer.count(text) <= most:
        if text:
            yield text
        return
    middle = len(text) // 2
    yield from _fitting(text[:middle], tokenizer, most)
    yield from _fitting(text[middle:], tokenizer, most)


def batches(lengths: Sequence[int], *, texts: int, tokens: int) -> Iterator[list[int]]:
    """Group indices so that like lengths meet: longest first, at most `texts` in a batch, padded size within `tokens`.

    One text longer than `tokens` is a batch of its own.
    """
    batch: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batch and (len(batch) == texts or lengths[batch[0]] * (len(batch) + 1) > tokens):
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def joined(vectors: np.ndarray, owners: Sequence[int], weights: Sequence[int], texts: int) -> tuple[np.ndarray, int]:
    """Unit vectors of `texts` texts from those of their windows, `(windows, dim)` to `(texts, dim)`.

    Also says how many texts had no direction at all (a zero vector): those become the first unit vector.
    """
    import numpy as np

    vectors = scaled(vectors)
    if len(owners) != texts:
        sums = np.zeros((texts, vectors.shape[1]), dtype=np.float64)
        np.add.at(sums, np.asarray(owners), vectors * np.asarray(weights, dtype=np.float64)[:, None])
        vectors = scaled(sums.astype(np.float32))
    empty = ~vectors.any(axis=1)
    vectors[empty, 0] = 1.0
    return vectors, int(empty.sum())


def scaled(vectors: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length; zero rows stay zero."""
    import numpy as np

    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, norms, where=norms > 0, out=np.zeros_like(vectors))
