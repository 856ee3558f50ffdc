"""Composed caches: texts that were read alone, placed behind one another in a prompt.

    k_j = R(p_j) raw_j                                    a kept text's keys at their new places, exactly
    dev_j = sum over heads, channels (v_j new - v_j)^2    at layer CHECKED, which all tokens are computed up to
    R = tokens that no text holds, and the share `recompute` of the others whose dev is largest
    every layer:  only R goes on;  row r sees j <= r, each j with its newest key and value

A text read alone has not seen those now before it: that is what deviates, and what is computed anew. With all of it
computed anew this is a full read; where nothing before a text has changed nothing deviates. Cost: CHECKED layers of a
full read, and `recompute` of the rest. (J. Yao et al., "CacheBlend: fast large language model serving for RAG with
cached knowledge fusion", 2024, arXiv 2405.16444; the rows' mask is exact here)
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

from fovea.attention_retrieval.memory.read_text import ReadText
from fovea.attention_retrieval.rotation import Rotation
from fovea.rag.causal_lm import CausalLM

if TYPE_CHECKING:
    from fovea.attention_retrieval.hf import RetrievalCache

CHECKED = 1
"""The layer at which values are compared, from 0."""
ROWS = 512
"""Tokens that are computed at a time."""


@dataclass(frozen=True)
class Placed:
    """A kept text whose first token is the prompt's token `start`."""

    start: int
    text: ReadText
    exact: bool = False
    """Whether it was read behind the very tokens that stand before it here."""


@dataclass(frozen=True)
class Composed:
    """Keys and values of a whole prompt, a tensor (1, kv heads, tokens, d) a layer, and how they came to be."""

    keys: list[torch.Tensor]
    values: list[torch.Tensor]
    kept: int
    """Tokens whose keys and values are those of kept texts."""
    recomputed: int
    """Tokens of kept texts that were computed anew."""
    fresh: int
    """Tokens that no text held."""

    def cache(self, empty: RetrievalCache | None = None) -> Any:
        """A cache that goes on from here: `empty`, filled, or one of transformers' own."""
        if empty is not None:
            empty.take(self.keys, self.values)
            return empty
        made = DynamicCache()
        for layer, (keys, values) in enumerate(zip(self.keys, self.values)):
            made.update(keys, values, layer)
        return made


def compose(
    lm: CausalLM, rotation: Rotation, ids: Sequence[int], placed: Sequence[Placed], recompute: float = 0.15
) -> Composed:
    """The cache of the prompt `ids`, of which `placed` texts hold parts, in order and without overlap.

    Raises ModelError if the model fails.
    """
    held = np.zeros(len(ids), bool)
    for each in placed:
        held[each.start : each.start + len(each.text)] = True
    keys, values = _laid(lm, rotation, len(ids), placed)
    anew, sure = ~held, _sure(placed)
    if recompute and held[sure:].any():
        deviation = _first_layers(lm, ids, sure, keys, values)
        moved = np.flatnonzero(held[sure:])
        worst = np.argsort(-deviation[moved], kind="stable")[: round(recompute * len(moved))]
        anew[sure + moved[worst]] = True
    _compute(lm, ids, np.flatnonzero(anew), keys, values)
    return Composed(keys, values, int((held & ~anew).sum()), int((held & anew).sum()), int((~held).sum()))


def _sure(placed: Sequence[Placed]) -> int:
    """How many of the first tokens are held by texts that were read behind the very same."""
    sure = 0
    for each in placed:
        if not each.exact or each.start != sure:
            break
        sure += len(each.text)
    return sure


def _laid(
    lm: CausalLM, rotation: Rotation, tokens: int, placed: Sequence[Placed]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """A layer's keys and values of the whole prompt, those of the texts in their places; zero elsewhere."""
    layers, heads, _, d = placed[0].text.keys.shape
    whole = [np.zeros((layers, heads, tokens, d), np.float32) for _ in range(2)]
    for each in placed:
        place = slice(each.start, each.start + len(each.text))
        for into, rows in zip(whole, each.text.at(rotation, each.start)):
            into[:, :, place] = rows
    keys, values = (torch.from_numpy(each).to(lm.model.device, lm.model.dtype)[:, None] for each in whole)
    return list(keys), list(values)


def _first_layers(
    lm: CausalLM, ids: Sequence[int], sure: int, keys: list[torch.Tensor], values: list[torch.Tensor]
) -> np.ndarray:
    """How far the values of each token from `sure` on deviate at layer CHECKED, (tokens,); up to there `keys` and
    `values` are then those of a full read.
    """
    checked = min(CHECKED, len(keys) - 1)
    cache, old = _Stopping(keys, values, sure, checked), values[checked][:, :, sure:].float()
    with suppress(_Enough):
        lm.read(list(ids[sure:]), cache, position_ids=torch.arange(sure, len(ids), device=lm.model.device)[None])
    for layer, each in enumerate(cast(list[DynamicLayer], cache.layers)):
        keys[layer], values[layer] = cast(torch.Tensor, each.keys), cast(torch.Tensor, each.values)
    return ((values[checked][:, :, sure:].float() - old) ** 2).sum(dim=(0, 1, 3)).cpu().numpy()


def _compute(
    lm: CausalLM, ids: Sequence[int], anew: np.ndarray, keys: list[torch.Tensor], values: list[torch.Tensor]
) -> None:
    """Let every layer compute the tokens `anew`, in order, each seeing all before it; in place."""
    least = torch.finfo(lm.model.dtype).min
    for first in range(0, len(anew), ROWS):
        rows = torch.from_numpy(anew[first : first + ROWS]).to(lm.model.device)
        end = int(rows[-1]) + 1
        later = torch.arange(end, device=rows.device) > rows[:, None]
        mask = torch.zeros(later.shape, dtype=lm.model.dtype, device=rows.device).masked_fill_(later, least)
        tokens = [ids[n] for n in rows.tolist()]
        lm.read(tokens, _Scattering(keys, values, rows), position_ids=rows[None], attention_mask=mask[None, None])


class _Enough(Exception):
    """The layers that are wanted have run."""


class _Stopping(DynamicCache):
    """A cache that holds the first `held` tokens of layers up to `last`; once that has its keys, the model stops."""

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor], held: int, last: int) -> None:
        super().__init__()
        self.last = last
        for layer in range(last + 1 if held else 0):
            super().update(keys[layer][:, :, :held], values[layer][:, :, :held], layer)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Take them in; raises _Enough at the last layer that is wanted."""
        whole = super().update(key_states, value_states, layer_idx, *args, **kwargs)
        if layer_idx == self.last:
            raise _Enough
        return whole


class _Scattering(DynamicCache):
    """A cache of all tokens, into which the `rows` that are computed anew are written where they belong."""

    def __init__(self, keys: list[torch.Tensor], values: list[torch.Tensor], rows: torch.Tensor) -> None:
        super().__init__()
        self.layers = [_ScatteringLayer(*each, rows) for each in zip(keys, values)]


class _ScatteringLayer(DynamicLayer):
    def __init__(self, keys: torch.Tensor, values: torch.Tensor, rows: torch.Tensor) -> None:
        super().__init__()
        self.all_keys, self.all_values, self.rows = keys, values, rows

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = int(self.rows[-1]) + 1
        self.all_keys[:, :, self.rows], self.all_values[:, :, self.rows] = key_states, value_states
        return self.all_keys[:, :, :end], self.all_values[:, :, :end]
