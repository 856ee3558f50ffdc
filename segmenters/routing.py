"""Dynamic chunking: where a hierarchical network starts a new chunk, and how it comes back from chunks to symbols.

States x_1..x_T of some symbols (bytes, sentences, chunks of a lower stage) are turned into

    p_t = (1 - cos(W_q x_{t-1}, W_k x_t)) / 2,  p_1 = 1      how surely a chunk starts at t
    b_t = p_t > 1/2                                          whether one does
    c_t = p_t where b_t, else 1 - p_t                        how confident that decision is

Only the states at boundaries go up to the next stage. What comes back for the m-th chunk, z_m, is smoothed by an
exponential moving average with the probabilities of the boundaries, P_m, and every symbol takes that of its chunk:

    zbar_m = P_m z_m + (1 - P_m) zbar_{m-1},  P clipped to [1e-4, 1 - 1e-4]

The rate of boundaries is held near 1/N by a loss over F = mean(b) and G = mean(p), which is 1 at F = G = 1/N:

    N / (N - 1) * ((N - 1) F G + (1 - F) (1 - G))

S. Hwang, B. Wang, A. Gu, "Dynamic chunking for end-to-end hierarchical sequence modeling" (2025). Here in numpy, for
one sequence; `fovea.segmenters.training.hnet_parts` holds the same for batches in torch, with gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CLIP = 1e-4
"""How near to 0 and 1 the weights of the moving average come."""


class Routed(NamedTuple):
    """What the router says of each symbol, each `(T,)`."""

    p: np.ndarray
    """How surely a chunk starts here, in [0, 1]."""
    b: np.ndarray
    """Whether one does."""
    c: np.ndarray
    """How confident that is, in [1/2, 1]."""


def opposition(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(1 - cos) / 2 of the rows of two matrices: 0 for one direction, 1 for opposite ones; `(T, d)` twice, to `(T,)`.

    A row of zeros has no direction and counts as orthogonal to all.
    """
    cosines = (before * after).sum(axis=1) / (_lengths(before) * _lengths(after))
    return np.clip((1 - cosines) / 2, 0, 1)


def route(states: np.ndarray, query: np.ndarray, key: np.ndarray) -> Routed:
    """Route one sequence: `(T, d)` with W_q and W_k `(d, d)`, which multiply from the right."""
    p = np.ones(len(states), states.dtype)
    p[1:] = opposition(states[:-1] @ query, states[1:] @ key)
    return decide(p)


def decide(p: np.ndarray) -> Routed:
    """Boundaries and confidences of probabilities; one half is no boundary."""
    b = p > 0.5
    return Routed(p, b, np.where(b, p, 1 - p))


def dechunk(chunks: np.ndarray, p: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From chunks `(M, d)` back to symbols `(T, d)`, where `b` holds M boundaries, the first of them at the start.

    Raises ValueError where it does not.
    """
    if not b.any() or not b[0] or b.sum() != len(chunks):
        raise ValueError(f"{len(chunks)} chunks need as many boundaries, the first at the start; got {int(b.sum())}")
    weights = np.clip(p[b], CLIP, 1 - CLIP)
    smooth, last = np.empty_like(chunks), np.zeros_like(chunks[0])
    for m, (weight, chunk) in enumerate(zip(weights, chunks)):
        last = smooth[m] = weight * chunk + (1 - weight) * last
    return smooth[np.cumsum(b) - 1]


def ratio_loss(p: np.ndarray, b: np.ndarray, target: float) -> float:
    """How far the boundaries are from one in `target` symbols; 1 where they are there, for F = G never less."""
    chosen, expected = float(b.mean()), float(p.mean())
    return target / (target - 1) * ((target - 1) * chosen * expected + (1 - chosen) * (1 - expected))


def _lengths(rows: np.ndarray) -> np.ndarray:
    return np.maximum(np.sqrt((rows * rows).sum(axis=1)), 1e-12)
