"""A Llama whose weights are set by a formula, not trained: exact key-value lookup at any length to a million tokens.

A page is lines of three tokens, `key key value`, and ends in two tokens of a key; the next token is the key's value.

Each token t of the vocabulary has a code `c(t)` of `CODE` signs, two codes never closer than half their length. The
residual stream is five fields, `now | before | before_that | answer | one`; the embedding is `c(t) | 0 | 0 | 0 | 1`.

1. First layer, "who stood before me": queries and keys are made of the constant field alone, in the `TURNING` fastest
   pairs of RoPE, every pair of length `sqrt(WEIGHT)`. A head whose query is turned back by j positions scores a key at
   distance d with `WEIGHT * sum_i cos(f_i * (d - j))`: largest at d = j by 21 or more, at any distance to 2^20, so the
   softmax is one-hot to 1e-9. Heads with j = 1 and j = 2 copy `c` of those tokens into `before` and `before_that`.
2. Second layer, "who stood behind my key": in pairs of RoPE so slow that they turn by less than 0.04 in 2^20 positions,
   the query is `now | before`, the key `before | before_that`, the value `now`. The logit is `SHARPNESS` times the sum
   of the two cosines: 2 * SHARPNESS where both tokens agree, at most 1.5 * SHARPNESS elsewhere. The gap of 32 leaves a
   million distractors `2^20 * exp(-32)` = 1e-8 of the mass. Key head 1 has its halves the other way round, so that the
   two heads hold different keys; each of a group's four query heads copies its own eighth of the value's code into
   `answer`, so every head of both groups must find the line.
3. `lm_head` reads `answer` against all codes. The MLPs are zero. Norms divide every row by the same number (all
   rows have the same length), which the weights undo.

Signs are exact in bf16, and rounding the keys moves a logit by less than 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fovea.rag.errors import QueryError, require

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM

CODE, HEAD, HEADS, GROUPS = 48, 128, 8, 2
TURNING, WEIGHT = 12, 40.0
SLOW = 16
"""The first pair of RoPE dimensions that holds still: `THETA ** (-SLOW / 64) * 2^20 < 0.04`."""
THETA, SHARPNESS, WINDOW = 1e30, 64.0, 1 << 20
NOW, BEFORE, BEFORE_THAT, ANSWER = (slice(i * CODE, (i + 1) * CODE) for i in range(4))
ONE, WIDTH = 4 * CODE, 256


@dataclass(frozen=True)
class Lookup:
    """A page of `key key value` lines that ends in a key; `answer` is the token that should follow, told at `place`."""

    ids: list[int]
    answer: int
    place: int


def induction_model(vocabulary: int = 2048, *, seed: int = 0) -> LlamaForCausalLM:
    """The model, in fp32: 2 layers, 8 query heads on 2 key heads of 128, `WIDTH` hidden. O(vocabulary^2) once."""
    torch: Any = require("torch", extra="models", needed_by="the constructed induction model")
    transformers: Any = require("transformers", extra="models", needed_by="the constructed induction model")
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        head_dim=HEAD,
        max_position_embeddings=WINDOW,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.no_grad():
        model = transformers.LlamaForCausalLM(config).eval()
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if "norm" in name else 0.0)
        codes = torch.from_numpy(sign_codes(vocabulary, seed)).float()
        model.model.embed_tokens.weight[:, NOW] = codes
        model.model.embed_tokens.weight[:, ONE] = 1
        model.lm_head.weight[:, ANSWER] = codes * _norm(4) * SHARPNESS / CODE
        first, second = (layer.self_attn for layer in model.model.layers)
        _look_back(first, model.model.rotary_emb.inv_freq)
        _look_up(second)
    return model


def sign_codes(count: int, seed: int = 0) -> np.ndarray:
    """`count` rows of `CODE` signs, the cosine of any two at most 1/2, int8. O(count^2)."""
    rng, kept, found = np.random.default_rng(seed), np.zeros((count, CODE), np.float32), 0
    while found < count:
        kept[found] = rng.integers(0, 2, CODE) * 2 - 1
        found += bool((np.abs(kept[:found] @ kept[found]) <= CODE // 2).all())
    return kept.astype(np.int8)


def lookup(length: int, *, depth: float = 0.5, vocabulary: int = 2048, seed: int = 0, known: bool = True) -> Lookup:
    """A page of about `length` tokens (as many whole lines as fit), all of it lines with different keys.

    Keys are of the first half of the vocabulary, values of the second. The asked line stands at `depth`, from 0 to 1.
    With `known=False` the key that is asked for is in no line, and `answer` and `place` are -1.
    """
    lines, half = (length - 2) // 3, vocabulary // 2
    if lines < 1 or lines >= half**2:
        raise QueryError(
            f"a page of {length} tokens and {vocabulary} words holds 1 to {half**2 - 1} lines, not {lines}"
        )
    rng = np.random.default_rng(seed)
    keys = rng.choice(half**2, lines + 1, replace=False)
    page = np.stack([keys // half, keys % half, rng.integers(half, vocabulary, lines + 1)], axis=1)
    asked = min(lines - 1, int(depth * lines)) if known else lines
    ids = [*page[:lines].ravel().tolist(), *page[asked, :2].tolist()]
    return Lookup(ids, int(page[asked, 2]), 3 * asked + 2) if known else Lookup(ids, -1, -1)


def prefilled(model: LlamaForCausalLM, ids: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys after RoPE and values `(1, 2, length, 128)` of each layer, as a prefill of `ids` `(length,)` leaves them.

    By what the first layer is known to do, in linear time, where a prefill of a million tokens would take days.
    """
    torch: Any = require("torch", extra="models", needed_by="the constructed induction model")
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    with torch.no_grad():
        where = torch.arange(len(ids))
        states = model.model.embed_tokens(ids)[None]
        turn = model.model.rotary_emb(states, where[None])
        made = []
        for layer in model.model.layers:
            normed, attention = layer.input_layernorm(states), layer.self_attn
            k, v = (
                project(normed).view(1, len(ids), GROUPS, HEAD).transpose(1, 2)
                for project in (attention.k_proj, attention.v_proj)
            )
            made.append((apply_rotary_pos_emb(k, k, *turn)[1], v))
            for field, back in ((BEFORE, 1), (BEFORE_THAT, 2)):
                states[:, :, field] = states[:, (where - back).clamp(min=0), NOW]
    return made


def _look_back(attention: Any, frequencies: torch.Tensor) -> None:
    """Even heads attend to the token before, odd ones to that before it; each copies a quarter of its code."""
    undo, quarter = _norm(1), CODE // 4
    pairs = range(TURNING)
    for group in range(GROUPS):
        for i in pairs:
            attention.k_proj.weight[group * HEAD + i, ONE] = undo * math.sqrt(WEIGHT)
        _copy(attention.v_proj.weight, group * HEAD, NOW.start, CODE, undo)
    for head in range(HEADS):
        back, length = 1 + head % 2, undo * math.sqrt(WEIGHT) / attention.scaling
        for i in pairs:
            angle = back * float(frequencies[i])
            attention.q_proj.weight[head * HEAD + i, ONE] = length * math.cos(angle)
            attention.q_proj.weight[head * HEAD + HEAD // 2 + i, ONE] = -length * math.sin(angle)
        field, part = (BEFORE, BEFORE_THAT)[head % 2], head // 2 * quarter
        _copy(attention.o_proj.weight, field.start + part, head * HEAD + part, quarter, 1.0)


def _look_up(attention: Any) -> None:
    """Every head attends to the token behind the two that stand last; each copies an eighth of its code."""
    undo, eighth = _norm(3), CODE // HEADS
    halves = (SLOW, HEAD // 2 + SLOW)
    for group in range(GROUPS):
        first, second = (group * HEAD + half for half in (halves if group == 0 else halves[::-1]))
        _copy(attention.k_proj.weight, first, BEFORE.start, CODE, undo)
        _copy(attention.k_proj.weight, second, BEFORE_THAT.start, CODE, undo)
        _copy(attention.v_proj.weight, group * HEAD, NOW.start, CODE, undo)
    sharp = undo * SHARPNESS / CODE / attention.scaling
    for head in range(HEADS):
        first, second = (head * HEAD + half for half in (halves if head < HEADS // GROUPS else halves[::-1]))
        _copy(attention.q_proj.weight, first, NOW.start, CODE, sharp)
        _copy(attention.q_proj.weight, second, BEFORE.start, CODE, sharp)
        _copy(attention.o_proj.weight, ANSWER.start + head * eighth, head * HEAD + head * eighth, eighth, 1.0)


def _copy(weight: torch.Tensor, row: int, column: int, count: int, times: float) -> None:
    """`out[row + i] += times * in[column + i]` for `count` rows."""
    for i in range(count):
        weight[row + i, column + i] = times


def _norm(fields: int) -> float:
    """What RMSNorm divides a row by when that many fields hold a code."""
    return math.sqrt((fields * CODE + 1) / WIDTH)
