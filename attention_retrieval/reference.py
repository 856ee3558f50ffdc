"""What the kernels compute, in plain NumPy: tests compare every kernel to its namesake here."""

from __future__ import annotations

import numpy as np


def top_k(keys: np.ndarray, q: np.ndarray, k: int, bias: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The k rows of `keys` (tokens, d) with the largest q . key + bias, best first: ids and logits, (queries, k)."""
    logits = (q @ keys.T).astype(np.float32) + (0 if bias is None else bias)
    ids = np.argsort(-logits, axis=1, kind="stable")[:, :k]
    found = np.take_along_axis(logits, ids, axis=1)
    short = ((0, 0), (0, k - ids.shape[1]))
    return np.pad(ids, short, constant_values=-1).astype(np.int32), np.pad(found, short, constant_values=-np.inf)


def attend(values: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """softmax(logits) . values and log-sum-exp; logits (queries, tokens), values (tokens, d), an empty set allowed."""
    if not logits.shape[1]:
        return np.zeros((len(logits), values.shape[1]), np.float32), np.full(len(logits), -np.inf, np.float32)
    most = logits.max(axis=1, keepdims=True)
    weights = np.exp(logits - most, where=logits > -np.inf, out=np.zeros_like(logits))
    total = weights.sum(axis=1, keepdims=True)
    return (weights @ values) / total, (most + np.log(total))[:, 0]
