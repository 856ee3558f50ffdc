"""Batches of texts of like length, for recipes that run an encoder in training: all cost what the longest does.

Two ways, neither of which ever puts two documents into one sequence (H. Pouransari et al., "Dataset decomposition:
faster LLM training with variable sequence length curriculum", 2024):

    by_length   whole texts, which are what a sentence encoder reads: sorted by length, cut where the padded batch
                would hold more than `tokens`
    decomposed  a text of n tokens as pieces whose lengths are the powers of two that n is the sum of, longest first;
                a batch holds `tokens` / length pieces of one length, so nothing is padded and every step costs the same
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rag.errors import ConfigError


def by_length(lengths: Sequence[int], tokens: int, seed: int) -> list[np.ndarray]:
    """Every text once, as rows in batches in random order; texts of one length change places with the seed.

    A text of more than `tokens` is a batch by itself. Pass another seed for each epoch. O(n log n).
    """
    rng, sizes = np.random.default_rng(seed), np.asarray(lengths, int)
    batches: list[list[int]] = []
    for row in np.lexsort((rng.random(len(sizes)), sizes)).tolist():
        if not batches or (len(batches[-1]) + 1) * sizes[row] > tokens:
            batches.append([])
        batches[-1].append(row)
    return [np.array(batches[i]) for i in rng.permutation(len(batches))]


def padding(lengths: Sequence[int], batches: Sequence[np.ndarray]) -> float:
    """The share of padded batches' tokens that are padding."""
    sizes = np.asarray(lengths, int)
    held = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 1 - sum(int(sizes[batch].sum()) for batch in batches) / max(held, 1)


class Piece(NamedTuple):
    """Tokens `[start, start + size)` of a text; `size` is a power of two."""

    text: int
    start: int
    size: int


def decomposed(lengths: Sequence[int], longest: int) -> Iterator[Piece]:
    """Every text as pieces of at most `longest` tokens, in order; together they are the text.

    Raises ConfigError where `longest` is no power of two.
    """
    if longest < 1 or longest & (longest - 1):
        raise ConfigError(
            f"pieces of at most {longest} tokens", fix=f"a power of two, such as {1 << longest.bit_length()}"
        )
    for text, length in enumerate(lengths):
        start = 0
        while start < length:
            size = min(longest, 1 << (length - start).bit_length() - 1)
            yield Piece(text, start, size)
            start += size


def of_one_length(pieces: Sequence[Piece], tokens: int, seed: int) -> list[list[Piece]]:
    """Batches of `tokens` / length pieces of one length, in random order of batches and pieces.

    The last batch of a length may hold fewer. Raises ConfigError where a piece is longer than `tokens`, or does not
    divide them.
    """
    rng = np.random.default_rng(seed)
    batches: list[list[Piece]] = []
    for size in sorted({piece.size for piece in pieces}):
        if tokens % size:
            raise ConfigError(f"batches of {tokens} tokens cannot be made of pieces of {size}", fix="a power of two")
        bucket = [piece for piece in pieces if piece.size == size]
        order, count = rng.permutation(len(bucket)).tolist(), tokens // size
        batches += [[bucket[i] for i in order[at : at + count]] for at in range(0, len(bucket), count)]
    return [batches[i] for i in rng.permutation(len(batches))]
