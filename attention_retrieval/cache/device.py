"""One sequence of one layer, where the model is: what stays near it, and the reading of prompts.

A decoded token's queries go to the CPU first; while the device attends to sinks, window and pending tokens, the CPU
searches its indexes; then the two are merged. With everything on a CPU the same code runs, one part after the other.
"""

from __future__ import annotations

import numpy as np
import torch

from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.prefill.prefill import BLOCK, Block, Prefill
from fovea.attention_retrieval.settings import RetrievalSettings
from fovea.attention_retrieval.vectors import SLAB, Vectors

ATTENTION = torch.nn.functional.scaled_dot_product_attention


class DecodingRow:
    """`attend` takes new tokens in and gives their attention; `cache` holds everything, on the CPU."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        self.cache = LayerCache(settings, layer, heads, d)
        self.near: Near | None = None

    def attend(self, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float) -> torch.Tensor:
        """Query (heads, tokens, d), keys and values (kv heads, tokens, d); the result is (tokens, heads, d)."""
        before, tokens = len(self.cache), query.shape[1]
        if before and tokens > 1 and self.cache.built and not self.cache.settings.exact_prompt:
            return torch.cat(
                [
                    self.attend(query[:, n : n + 1], keys[:, n : n + 1], values[:, n : n + 1], scaling)
                    for n in range(tokens)
                ]
            )
        if tokens == 1 and before and self.cache.evict():
            self.near = None
        read = self.cache.tokens
        self.cache.append(_codes(keys), _codes(values))
        if tokens > 1 or not before:
            self.near = None
            self.cache.learn(to_numpy(query) * np.float32(scaling), read)
            return self._read(query, before, scaling)
        return self._decode(query[:, 0], scaling)[None]

    def take(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keys and values (kv heads, tokens, d) of tokens that were attended to elsewhere."""
        self.cache.append(_codes(keys), _codes(values))
        self.near = None

    def crop(self, length: int) -> None:
        """Forget the tokens from `length` on."""
        self.cache.crop(length)
        self.near = None

    def keep(self, kept: np.ndarray) -> None:
        """Forget the tokens where `kept` (tokens,) is false."""
        self.cache.keep(kept)
        self.near = None

    def _read(self, query: torch.Tensor, before: int, scaling: float) -> torch.Tensor:
        """Full attention of a prompt's tokens to all before them, to the keys as they are stored."""
        heads, group = self.cache.keys.heads, query.shape[0] // self.cache.keys.heads
        if self.cache.uneven:
            return self._read_what_is_left(query, scaling)
        if prefill := self.cache.settings.prefill:
            return self._read_by(prefill, query, before, scaling)
        out = torch.empty(query.shape[1], query.shape[0], query.shape[2], dtype=query.dtype, device=query.device)
        for head in range(heads):
            mine = slice(head * group, (head + 1) * group)
            keys = stored(self.cache.keys, head, 0, len(self.cache), query)[None, None]
            values = stored(self.cache.values, head, 0, len(self.cache), query)[None, None]
            out[:, mine] = full_attention(query[None, mine], keys, values, before, scaling)[0].transpose(0, 1)
        return out

    def _read_what_is_left(self, query: torch.Tensor, scaling: float) -> torch.Tensor:
        """Full attention to all that each head holds, and to the row that stands for what it does not."""
        cache, tokens, parts = self.cache, query.shape[1], []
        for head, mine in enumerate(query.chunk(cache.keys.heads)):
            rows = int(cache.keys.lengths[head])
            keys, values = (stored(each, head, 0, rows, query) for each in (cache.keys, cache.values))
            bias = torch.zeros(tokens, rows, dtype=query.dtype, device=query.device)
            bias += torch.full_like(bias, -torch.inf).triu(rows - tokens + 1)
            if cache.rest is not None and cache.rest.count[head]:
                row = [torch.from_numpy(each[head][None]).to(keys) for each in (cache.rest.keys, cache.rest.values)]
                keys, values = torch.cat([row[0], keys]), torch.cat([row[1], values])
                bias = torch.cat([torch.full_like(bias[:, :1], float(cache.rest.bias[head])), bias], dim=1)
            shaped = mine[None], keys[None, None], values[None, None]
            parts.append(ATTENTION(*shaped, bias, scale=scaling, enable_gqa=True)[0])
        return torch.cat(parts).transpose(0, 1)

    def _read_by(self, prefill: Prefill, query: torch.Tensor, before: int, scaling: float) -> torch.Tensor:
        """Attention to the columns that a policy names, block by block."""
        grouped, parts = query.view(self.cache.keys.heads, -1, *query.shape[1:]) * scaling, []
        for first in range(0, query.shape[1], BLOCK):
            rows = grouped[:, :, first : first + BLOCK]
            block = Block(rows, before + first, self.cache.keys, self.cache.settings.sinks)
            ids, seen = prefill.columns(block)
            keys, values = (
                torch.from_numpy(each.take(ids)).to(query.device, query.dtype)
                for each in (self.cache.keys, self.cache.values)
            )
            earlier = ids[:, None] <= np.arange(block.start, block.stop)[:, None]
            mask = torch.from_numpy(earlier if seen is None else earlier & seen).to(query.device)[:, None]
            parts.append(ATTENTION(rows, keys[:, None], values[:, None], mask, scale=1.0, enable_gqa=True))
        return torch.cat(parts, dim=2).reshape(query.shape).transpose(0, 1)

    def _decode(self, query: torch.Tensor, scaling: float) -> torch.Tensor:
        """Attention of one token, (heads, d)."""
        heads, watch = self.cache.keys.heads, bool(self.cache.settings.watched(self.cache.layer, len(query)))
        if self.cache.advance():
            self.near = None
        grouped = (query.float() * scaling).view(heads, -1, query.shape[-1])
        if (query.device.type == "cpu" or self.cache.uneven) and not watch:
            out = torch.from_numpy(self.cache.attend(grouped.detach().cpu().numpy()).out)
            return out.reshape(query.shape).to(query.device, query.dtype)
        sent = _to_cpu(grouped) if self.cache.selected is not None else None
        if self.near is None:
            self.near = Near(self.cache, query)
        else:
            self.near.add(self.cache)
        out, lse, weights = self.near.attend(grouped)
        near_lse = lse
        if sent is not None:
            found = self.cache.retrieve(sent())
            assert found is not None
            far, far_lse = (torch.from_numpy(part).to(query.device, non_blocking=True) for part in found)
            out, lse = merge(out, lse, far, far_lse)
        if watch:
            whole = weights * (near_lse - lse).exp()[..., None]
            self.cache.watch(self.near.positions(), to_numpy(whole), to_numpy(lse))
        return out.reshape(query.shape).to(query.dtype)


class Near:
    """Sinks, pending tokens and window on the model's device, (kv heads, tokens, d), with room for more."""

    def __init__(self, cache: LayerCache, like: torch.Tensor) -> None:
        sinks = min(cache.settings.sinks, cache.indexed, len(cache))
        rest = range(max(cache.indexed, sinks), len(cache))
        room = sinks + len(rest) + max(len(rest) // 4, cache.settings.insert_every)
        shape = (cache.keys.heads, room, cache.keys.d)
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty_like(self.keys)
        self.length = self.end = 0
        self.sinks = sinks
        self._take(cache, 0, sinks)
        self._take(cache, rest.start, len(cache))

    def add(self, cache: LayerCache) -> None:
        """The tokens that came since."""
        if self.length + len(cache) - self.end > self.keys.shape[1]:
            more = torch.empty_like(self.keys)
            self.keys, self.values = torch.cat([self.keys, more], dim=1), torch.cat([self.values, more], dim=1)
        self._take(cache, self.end, len(cache))

    def positions(self) -> np.ndarray:
        """The rows that are here."""
        return np.concatenate([np.arange(self.sinks), np.arange(self.end - self.length + self.sinks, self.end)])

    def attend(self, query: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Attention of (kv heads, group, d), scaled already: output, log-sum-exp and weights in float32."""
        keys, values = self.keys[:, : self.length], self.values[:, : self.length]
        logits = torch.matmul(query.to(keys.dtype), keys.transpose(1, 2)).float()
        lse = logits.logsumexp(dim=-1)
        weights = (logits - lse[..., None]).exp()
        return torch.matmul(weights.to(values.dtype), values).float(), lse, weights

    def _take(self, cache: LayerCache, start: int, stop: int) -> None:
        if stop > start:
            place = slice(self.length, self.length + stop - start)
            self.keys[:, place] = torch.from_numpy(cache.keys.block(start, stop))
            self.values[:, place] = torch.from_numpy(cache.values.block(start, stop))
            self.length += stop - start
        self.end = stop


def full_attention(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, before: int, scaling: float
) -> torch.Tensor:
    """Causal attention of tokens that follow `before` others: query (1, group, tokens, d), keys (1, 1, all, d)."""
    parts = []
    if not before:
        return ATTENTION(query, keys, values, scale=scaling, is_causal=query.shape[2] > 1, enable_gqa=True)
    for first in range(0, query.shape[2], BLOCK):
        rows = query[:, :, first : first + BLOCK]
        end = before + first + rows.shape[2]
        mask = torch.ones(rows.shape[2], end, dtype=torch.bool, device=query.device).tril(before + first)
        parts.append(ATTENTION(rows, keys[:, :, :end], values[:, :, :end], mask, scale=scaling, enable_gqa=True))
    return torch.cat(parts, dim=2)


def merge(
    out: torch.Tensor, lse: torch.Tensor, other: torch.Tensor, other_lse: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """`partial.merge` for two parts in torch; the first is never empty."""
    both = torch.logaddexp(lse, other_lse)
    return out * (lse - both).exp()[..., None] + other * (other_lse - both).exp()[..., None], both


def stored(vectors: Vectors, head: int, start: int, stop: int, like: torch.Tensor) -> torch.Tensor:
    """One head's rows as a tensor like `like`, (stop - start, d)."""
    part, head = vectors.owners[head].tolist()
    vectors = vectors.parts[part]
    if vectors.dtype == "bf16":
        slabs = range(start // SLAB, -(-stop // SLAB))
        codes = [vectors.slabs[n][head, max(start - n * SLAB, 0) : min(stop - n * SLAB, SLAB)] for n in slabs]
        return torch.from_numpy(np.concatenate(codes)).view(torch.bfloat16).to(like.device, like.dtype)
    return torch.from_numpy(vectors.head(head).block(start, stop)).to(like.device, like.dtype)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """Any tensor as float32 on the CPU."""
    return tensor.detach().float().cpu().numpy()


def _codes(tensor: torch.Tensor) -> np.ndarray:
    """For `Vectors.append`: bf16 as it is, all else as float32."""
    if tensor.dtype == torch.bfloat16:
        return tensor.detach().cpu().contiguous().view(torch.uint16).numpy()
    return to_numpy(tensor)


def _to_cpu(tensor: torch.Tensor):  # type: ignore[no-untyped-def]
    """Start the copy now; calling the result waits for it. So the device goes on with what is asked of it meanwhile."""
    if tensor.device.type != "cuda":
        return lambda: tensor.detach().cpu().numpy()
    there = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    there.copy_(tensor.detach(), non_blocking=True)
    done = torch.cuda.Event()
    done.record()

    def wait() -> np.ndarray:
        done.synchronize()
        return there.numpy()

    return wait
