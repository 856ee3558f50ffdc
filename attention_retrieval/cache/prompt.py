"""The reading of prompts: attention of many tokens to those before them, to keys and values as they are stored.

    far     rows before a block of the prompt: all of them, or those that a policy names; no mask where none is needed
    own     the block's own rows, each for those at or after it

Both give their log-sum-exp, by which they are merged: on a CPU this takes two thirds of the time of one mask over both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from fovea.attention_retrieval.cache.compensation import Compensation
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.prefill.prefill import BLOCK, Block, Columns, Means, Prefill
from fovea.attention_retrieval.vectors import SLAB, Vectors

Part = tuple[torch.Tensor, torch.Tensor]
"""Attention to a part of the rows: output (heads, tokens, d), and log-sum-exp (heads, tokens) in float32."""


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


def attend_columns(
    query: torch.Tensor, columns: Columns, keys: torch.Tensor, values: torch.Tensor, scaling: float
) -> Part:
    """Attention to the columns that a policy named, and to what stands for others; keys are (kv heads, rows, d)."""
    many, parts = len(columns.ids), []
    for n, ids in enumerate(columns.ids):
        mine = query[n * len(query) // many : (n + 1) * len(query) // many]
        low = n * len(keys) // many
        here, heads = torch.from_numpy(ids).to(query.device), slice(low, max((n + 1) * len(keys) // many, low + 1))
        far_keys, far_values = (each[heads].index_select(1, here) for each in (keys, values))
        seen, bias = (given[n] if given is not None else None for given in (columns.seen, columns.bias))
        if columns.means is None or not len(columns.means[n].keys):
            parts.append(attend(mine, far_keys, far_values, scaling, seen=seen, bias=bias))
        elif seen is None and bias is None:
            parts.append(attend_means(mine, columns.means[n], scaling, far_keys[0], far_values[0]))
        else:
            part = attend(mine, far_keys, far_values, scaling, seen=seen, bias=bias)
            parts.append(merge(*attend_means(mine, columns.means[n], scaling), *part))
    return torch.cat([out for out, _ in parts]), torch.cat([lse for _, lse in parts])


def attend_means(
    query: torch.Tensor,
    means: Means,
    scaling: float,
    far_keys: torch.Tensor | None = None,
    far_values: torch.Tensor | None = None,
) -> Part:
    """Attention of a group's (heads, tokens, d) to rows that stand for others, and to `far_keys` (rows, d) themselves.

    What is added to a logit is a product too: of more numbers a query, and as many a mean, which are 0 for a row.
    """
    counts, many = means.counts, len(means.keys)
    logs = query.new_full((many,), math.log(counts)) if isinstance(counts, int) else torch.from_numpy(np.log(counts))
    more = [logs.to(query)[:, None]]
    asked = [query * scaling, query.new_ones(*query.shape[:2], 1)]
    if means.width is not None:
        asked.append((asked[0] @ means.width.around * asked[0]).sum(dim=2, keepdim=True) / 2)
        more.append(means.width.spread[:, None])
    pad = query.new_zeros(1).expand(many, -len(more) % 8)
    keys, values = torch.cat([means.keys, *more, pad], dim=1), torch.cat([means.values, *more[::-1], pad], dim=1)
    asked.append(query.new_zeros(1).expand(*query.shape[:2], pad.shape[1]))
    if far_keys is not None and far_values is not None:
        more_of = (0, keys.shape[1] - query.shape[2])
        keys = torch.cat([torch.nn.functional.pad(far_keys, more_of), keys])
        values = torch.cat([torch.nn.functional.pad(far_values, more_of), values])
    out, lse = attend(torch.cat(asked, dim=2), keys[None], values[None], 1.0)
    d = query.shape[2]
    if means.width is None:
        return out[..., :d], lse
    return torch.addcmul(out[..., :d], out[..., d : d + 1], asked[0] @ means.width.cross.T), lse


def attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scaling: float,
    *,
    causal: bool = False,
    seen: np.ndarray | None = None,
    bias: np.ndarray | None = None,
) -> Part:
    """Attention of (heads, tokens, d) to (kv heads, rows, d); a token that sees none has an output of
    zero and a log-sum-exp of minus infinity."""
    tokens, rows = query.shape[1], keys.shape[1]
    if not rows:
        return torch.zeros_like(query), query.new_full(query.shape[:2], -torch.inf, dtype=torch.float32)
    mask, blind = None, None
    if seen is not None or bias is not None:
        sees = (
            torch.ones(tokens, rows, dtype=torch.bool) if seen is None else torch.from_numpy(np.ascontiguousarray(seen))
        )
        sees = sees.tril() if causal else sees
        added = torch.zeros(rows) if bias is None else torch.from_numpy(np.asarray(bias, np.float32))
        mask = torch.where(sees, added, -torch.inf).to(query.device, query.dtype)
        blind = None if bool(sees.any(dim=1).all()) else ~sees.any(dim=1)
    if query.device.type == "cpu":
        call = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        plain = mask is None and not causal
        asked = query.reshape(len(keys), -1, query.shape[2]) if plain else query
        out, lse = call(
            asked[None], keys[None], values[None], is_causal=causal and mask is None, attn_mask=mask, scale=scaling
        )
        out, lse = out.reshape(query.shape), lse.reshape(query.shape[:2])
    else:
        out, lse = _by_hand(query * scaling, keys, values, causal and mask is None, mask)
    if blind is not None:
        out[:, blind], lse[:, blind] = 0, -torch.inf
    return out, lse


def _by_hand(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, causal: bool, mask: torch.Tensor | None
) -> Part:
    """The same from its formula: on a device whose own attention does not tell its log-sum-exp."""
    asked = query.unflatten(0, (len(keys), -1)).flatten(1, 2)
    logits = torch.matmul(asked, keys.transpose(1, 2)).unflatten(1, (-1, query.shape[1])).float()
    if causal:
        ahead = torch.ones(logits.shape[-2:], dtype=torch.bool, device=query.device).triu(1)
        logits = logits.masked_fill(ahead, -torch.inf)
    logits = logits if mask is None else logits + mask
    lse = logits.logsumexp(dim=-1)
    weights = (logits - lse[..., None]).exp().to(values.dtype).flatten(1, 2)
    return torch.matmul(weights, values).view(query.shape), lse.flatten(0, 1)


def merge(out: torch.Tensor, lse: torch.Tensor, other: torch.Tensor, other_lse: torch.Tensor) -> Part:
    """`partial.merge` for two parts in torch; the first is never empty."""
    both = torch.logaddexp(lse, other_lse)
    weights = ((each - both).exp()[..., None].to(out.dtype) for each in (lse, other_lse))
    return out * next(weights) + other * next(weights), both


def whole(vectors: Vectors, start: int, stop: int, like: torch.Tensor) -> torch.Tensor:
    """The rows of all heads as a tensor like `like`, (kv heads, stop - start, d)."""
    return torch.stack([stored(vectors, head, start, stop, like) for head in range(vectors.heads)])


def stored(vectors: Vectors, head: int, start: int, stop: int, like: torch.Tensor) -> torch.Tensor:
    """One head's rows as a tensor like `like`, (stop - start, d)."""
    table, head = vectors.owners[head].tolist()
    vectors = vectors.parts[table]
    if vectors.dtype == "bf16":
        slabs = range(start // SLAB, -(-stop // SLAB))
        codes = [vectors.slabs[n][head, max(start - n * SLAB, 0) : min(stop - n * SLAB, SLAB)] for n in slabs]
        return torch.from_numpy(np.concatenate(codes)).view(torch.bfloat16).to(like.device, like.dtype)
    return torch.from_numpy(vectors.head(head).block(start, stop)).to(like.device, like.dtype)
