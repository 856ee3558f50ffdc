"""Batches of texts of like length, for recipes that run an encoder in training: all cost what the longest does.

Whole texts, which are what a sentence encoder reads, are sorted by length and cut where the padded batch would hold
more than `tokens`; two documents are never put into one sequence (the point of H. Pouransari et al., "Dataset
decomposition: faster LLM training with variable sequence length curriculum", 2024; its pieces of documents, of lengths
that are powers of two, are for language models).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


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
