"""Heaps of rows by logit: `sift` and `order` keep the worst at the root, `push` and `pop` the best."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def sift(logits: np.ndarray, ids: np.ndarray, size: int) -> None:
    """Put the root of a heap of `size` where it belongs."""
    logit, one, at = logits[0], ids[0], 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and logits[child + 1] < logits[child]:
            child += 1
        if logit <= logits[child]:
            break
        logits[at], ids[at] = logits[child], ids[child]
        at = child
    logits[at], ids[at] = logit, one


@njit(nogil=True, cache=True)
def order(logits: np.ndarray, ids: np.ndarray) -> None:
    """A heap becomes a list, best first."""
    for end in range(logits.shape[0] - 1, 0, -1):
        logits[0], logits[end] = logits[end], logits[0]
        ids[0], ids[end] = ids[end], ids[0]
        sift(logits, ids, end)


@njit(nogil=True, cache=True)
def push(ids: np.ndarray, logits: np.ndarray, size: int | np.integer, row: int, logit: np.float32) -> None:
    """Add a row to a heap of `size` whose root is the best."""
    at = size
    while at > 0 and logits[(at - 1) >> 1] < logit:
        up = (at - 1) >> 1
        logits[at], ids[at] = logits[up], ids[up]
        at = up
    logits[at], ids[at] = logit, row


@njit(nogil=True, cache=True)
def pop(ids: np.ndarray, logits: np.ndarray, size: int | np.integer) -> None:
    """Take the root away from such a heap of `size`."""
    logit, row, at = logits[size - 1], ids[size - 1], 0
    while True:
        child = 2 * at + 1
        if child >= size - 1:
            break
        if child + 1 < size - 1 and logits[child + 1] > logits[child]:
            child += 1
        if logit >= logits[child]:
            break
        logits[at], ids[at] = logits[child], ids[child]
        at = child
    logits[at], ids[at] = logit, row
