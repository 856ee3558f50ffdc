"""The reading of prompts: attention of many tokens to those before them, to keys and values as they are stored.

    far     rows before a block of the prompt: all of them, or those that a policy names; no mask where none is needed
    own     the block's own rows, each for those at or after it

Both give their log-sum-exp, by which they are merged: on a CPU this takes two thirds of the time of one mask over both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fovea.attention_retrieval.attend import attend, attend_columns, merge
from fovea.attention_retrieval.cache.compensation import Compensation
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.prefill.prefill import BLOCK, Block, Prefill
from fovea.attention_retrieval.slabs import SLAB
from fovea.attention_retrieval.vectors import Vectors


def read_all(
    query: torch.Tensor, keys: Vectors, values: Vectors, scaling: float, rest: Compensation | None = None
) -> torch.Tensor:
    """Full causal attention of the last tokens to all that each head holds, and to the row that stands for what it does
    not, (heads, tokens, d).
    """
    group, out, tokens = len(query) // keys.heads, torch.empty_like(query), query.shape[1]
    for head, held in enumerate(keys.lengths.tolist()):
        mine = slice(head * group, (head + 1) * group)
        mine_keys, mine_values = (stored(each, head, 0, held, query)[None] for each in (keys, values))
        out[mine] = full_attention(query[mine], mine_keys, mine_values, held - tokens, scaling, of_rest(rest, head))
    return out


def of_rest(rest: Compensation | None, head: int) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Key (d,), value (d,) and bias of the row that stands for others; None where there is none."""
    if rest is None or not rest.counts[head]:
        return None
    return rest.keys[head], rest.values[head], float(rest.bias[head])


def full_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    before: int,
    scaling: float,
    rest: tuple[np.ndarray, np.ndarray, float] | None = None,
) -> torch.Tensor:
    """Causal attention of tokens that follow `before` others: query (heads, tokens, d), keys (kv heads, all, d)."""
    parts = []
    for first, last in blocks(before, query.shape[1], BLOCK):
        asked = query[:, first - before : last - before]
        part = attend(asked, keys[:, first:last], values[:, first:last], scaling, causal=True)
        if first:
            part = merge(*part, *attend(asked, keys[:, :first], values[:, :first], scaling))
        if rest is not None:
            key, value = (torch.from_numpy(each).to(query) for each in rest[:2])
            part = merge(*part, value.expand_as(asked), (asked @ key).float() * scaling + rest[2])
        parts.append(part[0])
    return torch.cat(parts, dim=1)


def read_by(
    prefill: Prefill,
    query: torch.Tensor,
    cache: LayerCache,
    before: int,
    scaling: float,
    kept: dict[Any, Any] | None = None,
) -> torch.Tensor:
    """Attention to a block's own rows and to the columns that a policy names, (heads, tokens, d).

    `kept` is what the policy made of the text's earlier pieces.
    """
    end, sinks = before + query.shape[1], cache.settings.sinks
    keys, values = (whole(each, 0, end, query) for each in (cache.keys, cache.values))
    parts: list[torch.Tensor] = []
    memo: dict[str, Any] = {}
    kept = {} if kept is None else kept
    for first, last in blocks(before, query.shape[1], prefill.rows):
        here, asked = slice(first, last), query[:, first - before : last - before]
        grouped = asked.unflatten(0, (len(keys), -1)) * scaling
        columns = prefill.columns(
            Block(grouped, first, keys, values, sinks, cache.layer, memo, {} if kept is None else kept)
        )
        part = attend(asked, keys[:, here], values[:, here], scaling, causal=True, seen=columns.own)
        parts.append(merge(*part, *attend_columns(asked, columns, keys, values, scaling))[0])
    return torch.cat(parts, dim=1)


def blocks(before: int, tokens: int, rows: int) -> Iterator[tuple[int, int]]:
    """Where the blocks of `rows` rows begin and end that hold `tokens` rows after `before` others."""
    at = before
    while at < before + tokens:
        stop = min(at // rows * rows + rows, before + tokens)
        yield at, stop
        at = stop


def whole(vectors: Vectors, start: int, stop: int, like: torch.Tensor) -> torch.Tensor:
    """The rows of all heads as a tensor like `like`, (kv heads, stop - start, d)."""
    return torch.stack([stored(vectors, head, start, stop, like) for head in range(vectors.heads)])


def stored(vectors: Vectors, head: int, start: int, stop: int, like: torch.Tensor) -> torch.Tensor:
    """One head's rows as a tensor like `like`, (stop - start, d)."""
    table, head = vectors.owners[head].tolist()
    vectors = vectors.parts[table]
    if vectors.dtype == "bf16":
        slabs = range(start // SLAB, -(-stop // SLAB))
        codes = [vectors.slabs.codes[n][head, max(start - n * SLAB, 0) : min(stop - n * SLAB, SLAB)] for n in slabs]
        return torch.from_numpy(np.concatenate(codes)).view(torch.bfloat16).to(like.device, like.dtype)
    return torch.from_numpy(vectors.head(head).block(start, stop)).to(like.device, like.dtype)
