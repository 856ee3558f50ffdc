"""Attention of a block's queries to rows, in torch: to those that a policy names, and to what stands for others.

Each part gives its log-sum-exp, by which parts are merged.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from fovea.attention_retrieval.columns import Columns, Means

Part = tuple[torch.Tensor, torch.Tensor]
"""Attention to a part of the rows: output (heads, tokens, d), and log-sum-exp (heads, tokens) in float32."""


def attend_columns(
    query: torch.Tensor, columns: Columns, keys: torch.Tensor, values: torch.Tensor, scaling: float
) -> Part:
    """Attention to the columns that a policy named, and to what stands for others; keys are (kv heads, rows, d)."""
    many = len(columns.ids)
    out, lse = torch.empty_like(query), query.new_empty(query.shape[:2], dtype=torch.float32)
    for n, mine in _alike(columns, len(query), len(keys)):
        low = n * len(keys) // many
        here, heads = (
            torch.from_numpy(columns.ids[n]).to(query.device),
            slice(low, max((n + 1) * len(keys) // many, low + 1)),
        )
        far_keys, far_values = (each[heads].index_select(1, here) for each in (keys, values))
        seen, bias = (given[n] if given is not None else None for given in (columns.seen, columns.bias))
        if columns.means is None or not len(columns.means[n].keys):
            out[mine], lse[mine] = attend(query[mine], far_keys, far_values, scaling, seen=seen, bias=bias)
        elif seen is None and bias is None:
            out[mine], lse[mine] = attend_means(query[mine], columns.means[n], scaling, far_keys[0], far_values[0])
        else:
            part = attend(query[mine], far_keys, far_values, scaling, seen=seen, bias=bias)
            out[mine], lse[mine] = merge(*attend_means(query[mine], columns.means[n], scaling), *part)
    return out, lse


def _alike(columns: Columns, heads: int, kv_heads: int) -> Iterator[tuple[int, slice | list[int]]]:
    """A list's number and the query heads that read by it: heads of a group whose lists are the very same together."""
    many = len(columns.ids)
    if many <= kv_heads or columns.seen is not None or columns.bias is not None:
        yield from ((n, slice(n * heads // many, (n + 1) * heads // many)) for n in range(many))
        return
    together: dict[tuple[int, ...], list[int]] = {}
    for head, ids in enumerate(columns.ids):
        means = 0 if columns.means is None else id(columns.means[head])
        together.setdefault((head * kv_heads // heads, id(ids), means), []).append(head)
    yield from ((mine[0], mine) for mine in together.values())


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
