"""What a policy reads, computed in NumPy from what it names: maps of rows, and attention to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fovea.attention_retrieval.columns import Columns
from fovea.attention_retrieval.partial import Partial
from fovea.attention_retrieval.prefill.prefill import Block, Prefill
from fovea.attention_retrieval.testing.prefills import block_of
from fovea.attention_retrieval.testing.selections import HEADS, Layer, layer


def made(text: Layer, start: int, stop: int, number: int = 0) -> Block:
    """A block of `text`, in layer `number`."""
    return replace(block_of(text, start, stop), layer=number)


def of_head(columns: Columns, head: int) -> np.ndarray:
    """The rows that a head reads."""
    return columns.ids[head if len(columns.ids) > 1 else 0]


def whole_map(policy: Prefill, tokens: int, number: int = 0) -> np.ndarray:
    """Which token reads which row of a text read block by block, (kv heads, tokens, tokens) bool."""
    text, seen = layer(tokens), np.zeros((HEADS, tokens, tokens), bool)
    for start in range(0, tokens, policy.rows):
        block = made(text, start, min(start + policy.rows, tokens), number)
        columns = policy.columns(block)
        for head in range(HEADS):
            seen[head, start : block.stop, of_head(columns, head)] = True
        seen[:, start : block.stop, start : block.stop] |= np.tri(block.stop - start, dtype=bool)
    return seen


def attended(policy: Prefill, block: Block) -> Partial:
    """Attention (kv heads, group, tokens, d) of a block's queries to what the policy names, and to itself, float64."""
    columns, queries = policy.columns(replace(block, memo={})), block.queries.double().numpy()
    parts = []
    for head in range(HEADS):
        ids = np.concatenate([of_head(columns, head), np.arange(block.start, block.stop)])
        keys, values = (each[head].numpy()[ids] for each in (block.keys, block.values))
        bias = np.zeros(len(ids))
        if columns.bias is not None:
            bias[: len(columns.bias[head])] = columns.bias[head]
        if columns.means is not None:
            few = columns.means[head]
            keys, values = np.concatenate([few.keys.numpy(), keys]), np.concatenate([few.values.numpy(), values])
            bias = np.concatenate([np.log(few.counts), bias])
        logits = queries[head] @ keys.T + bias
        own = block.stop - block.start
        logits[..., -own:][:, ~np.tri(own, dtype=bool)] = -np.inf
        most = logits.max(axis=-1, keepdims=True)
        weights = np.exp(logits - most)
        total = weights.sum(axis=-1, keepdims=True)
        parts.append((weights @ values / total, (most + np.log(total))[..., 0]))
    return Partial(np.stack([out for out, _ in parts]), np.stack([lse for _, lse in parts]))
