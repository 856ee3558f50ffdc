"""One sequence of one layer, where the model is: what stays near it, and its decoding steps.

A decoded token's queries go to the CPU first; while the device attends to sinks, window and pending tokens, the CPU
searches its indexes; then the two are merged. With everything on a CPU the same code runs, one part after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from fovea.attention_retrieval.attend import merge
from fovea.attention_retrieval.cache.layer import LayerCache
from fovea.attention_retrieval.cache.prompt import read_all, read_by
from fovea.attention_retrieval.settings import RetrievalSettings


class DecodingRow:
    """`attend` takes new tokens in and gives their attention; `cache` holds everything, on the CPU."""

    def __init__(self, settings: RetrievalSettings, layer: int, heads: int, d: int) -> None:
        self.cache = LayerCache(settings, layer, heads, d)
        self.near: Near | None = None
        self.kept: dict[Any, Any] = {}
        """What a prefill policy made of the text, while it is read."""

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
        if tokens == 1 and before:
            self.evict()
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

    def evict(self) -> bool:
        """Drop what the settings drop of a prompt, if any; True if rows have gone."""
        gone = self.cache.evict()
        if gone:
            self._forget()
        return gone

    def crop(self, length: int) -> None:
        """Forget the tokens from `length` on."""
        self.cache.crop(length)
        self._forget()

    def keep(self, kept: np.ndarray) -> None:
        """Forget the tokens where `kept` (tokens,) is false."""
        self.cache.keep(kept)
        self._forget()

    def _forget(self) -> None:
        self.near, self.kept = None, {}

    def _read(self, query: torch.Tensor, before: int, scaling: float) -> torch.Tensor:
        """A prompt's tokens, to the keys as they are stored: to all that is there, or to what a policy names."""
        cache = self.cache
        if (prefill := cache.settings.prefill) and not cache.uneven:
            return read_by(prefill, query, cache, before, scaling, self.kept).transpose(0, 1)
        return read_all(query, cache.keys, cache.values, scaling, cache.rest).transpose(0, 1)

    def _decode(self, query: torch.Tensor, scaling: float) -> torch.Tensor:
        """Attention of one token, (heads, d)."""
        self.kept = {}
        heads, watch = self.cache.keys.heads, bool(self.cache.settings.watched(self.cache.layer, len(query)))
        if self.cache.advance():
            self.near = None
        grouped = (query.float() * scaling).view(heads, -1, query.shape[-1])
        if (query.device.type == "cpu" or self.cache.uneven or self.cache.alone) and not watch:
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
