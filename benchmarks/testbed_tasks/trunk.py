"""The Llama's forward pass over a whole row, written so that a compiler can fuse it.

Same weights and same result as `LlamaForCausalLM`; that one's own forward also takes a jump in the positions for the
beginning of another document and masks across it, which training on jumping positions must not.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch.nn import functional

SHORT = 512
"""Rows up to this length are attended by plain matrix products, longer ones by SDPA."""
COMPILED = 2048
"""Longer rows spend their time in attention, which is compiled already."""


def hidden(model: Any, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Last hidden states `(batch, length, hidden)`, causal over each row of `ids`, at any increasing `positions`."""
    trunk = model.model
    states = trunk.embed_tokens(ids)
    cos, sin = (turn[:, None, :, : turn.shape[-1] // 2] for turn in trunk.rotary_emb(states, positions))
    for layer in trunk.layers:
        states = _layer(layer, states, cos, sin)
    return _norm(trunk.norm, states)


def fused(length: int) -> Callable[..., torch.Tensor]:
    """`hidden`, compiled where it pays for rows of that length and there is a C++ compiler."""
    return _compiled() if length <= COMPILED and shutil.which("g++") else hidden


@cache
def _compiled() -> Callable[..., torch.Tensor]:
    return torch.compile(hidden, dynamic=False)


def _layer(layer: Any, states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    attention, mlp = layer.self_attn, layer.mlp
    batch, length, _ = states.shape
    normed = _norm(layer.input_layernorm, states)
    q, k, v = (
        project(normed).view(batch, length, -1, attention.head_dim).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    attend = _attend_short if length <= SHORT else _attend_long
    out = attend(_turn(q, cos, sin), _turn(k, cos, sin), v, attention.scaling)
    states = states + attention.o_proj(out.transpose(1, 2).reshape(batch, length, -1))
    normed = _norm(layer.post_attention_layernorm, states)
    return states + mlp.down_proj(functional.silu(mlp.gate_proj(normed)) * mlp.up_proj(normed))


def _norm(norm: Any, states: torch.Tensor) -> torch.Tensor:
    return functional.rms_norm(states, states.shape[-1:], norm.weight, norm.variance_epsilon)


def _turn(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def _attend_short(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    """Query heads that share a key head are rows of one matrix."""
    batch, heads, length, dim = k.shape
    rows = (q * scale).reshape(batch * heads, -1, dim)
    scores = torch.bmm(rows, k.reshape(batch * heads, length, dim).mT).view(batch * heads, -1, length, length)
    future = torch.full((length, length), float("-inf"), dtype=q.dtype).triu(1)
    weights = (scores + future).softmax(-1).view(batch * heads, -1, length)
    return torch.bmm(weights, v.reshape(batch * heads, length, dim)).view(q.shape)


def _attend_long(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    return functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale, enable_gqa=True)
