"""Attention weights of chosen rows and heads, as numbers: softmax(q . k * scaling) over what each row may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM, cache_argument
from fovea.rag.errors import ModelError

Head = tuple[int, int]
"""Layer and query head, from 0."""


class _Enough(Exception):
    """Raised in the deepest layer that is looked at: what the model would do above it changes nothing."""


@dataclass
class Until:
    """Lets a model read as far as a layer: its keys are in the cache, and the call ends there."""

    last: int

    def __call__(self, called: Called, out: Any) -> Any:
        """The output as it came, below that layer."""
        if called.layer >= self.last:
            raise _Enough
        return out


@dataclass
class Weights:
    """Mean weights of groups of rows of one text: `at[layer]` is (heads, groups, tokens), float32.

    `rows` are groups of positions; `heads` are those of each layer, all where it is None; `start` is the position of
    the call's first token: those before are in a cache. Only these rows' logits are made: O(rows * heads * tokens * d)
    beside the model's own work, which ends with the deepest of these layers.
    """

    rows: Sequence[Sequence[int]]
    heads: Mapping[int, Sequence[int]] | None = None
    start: int = 0
    at: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Keep one layer's; the output is as it came."""
        import torch

        heads = range(called.query.shape[1]) if self.heads is None else self.heads.get(called.layer, ())
        if len(heads):
            flat = torch.tensor([row - self.start for group in self.rows for row in group], device=called.query.device)
            chosen = torch.tensor(list(heads), device=called.query.device)
            q = called.query[0, chosen][:, flat].float()
            k = called.key[0, chosen // called.group].float()
            logits = (q @ k.transpose(1, 2) * called.scaling).masked_fill(called.hidden[0, :, flat], float("-inf"))
            parts = logits.softmax(-1).split([len(group) for group in self.rows], dim=1)
            found = torch.stack([part.mean(1) for part in parts], dim=1).cpu().numpy()
            gone = self.start + called.query.shape[2] - called.key.shape[2]  # of a layer with a window
            self.at[called.layer] = np.pad(found, ((0, 0), (0, 0), (gone, 0)))
        return out if self.last is None else Until(self.last)(called, out)

    @property
    def last(self) -> int | None:
        """The deepest layer with one of these heads, where the call ends; None for all heads."""
        return max(self.heads, default=0) if self.heads is not None else None


def weights(
    lm: CausalLM, ids: Sequence[int], rows: Sequence[Sequence[int]], heads: Sequence[Head] | None = None
) -> np.ndarray:
    """What rows of a text look at, (heads, groups, tokens): the mean over each group of `rows`, in one pass.

    The heads are in the order of `heads`, or all, layer by layer; a layer without attention looks at nothing. Nobody
    else may run the model meanwhile unless it is computed by sdpa. Raises ModelError for a model that cannot be looked
    at, and for one that fails.
    """
    return _stacked(lm, _looked(lm, ids, rows, heads), heads)


@dataclass(frozen=True)
class Neutral:
    """What stands in the place of a text's tokens from `start` on: a question of nothing, and its groups of rows."""

    start: int
    ids: Sequence[int]
    rows: Sequence[Sequence[int]]
    """For each group of the text's rows those that it is compared with."""


def evidence_weights(
    lm: CausalLM,
    ids: Sequence[int],
    rows: Sequence[Sequence[int]],
    neutral: Neutral,
    heads: Sequence[Head] | None = None,
) -> np.ndarray:
    """What rows look at beyond what a question of nothing does: max(a - a_neutral, 0), (heads, groups, start).

    So what draws the eye in any case (the first token, full stops, what is near, what is said twice) goes. (S. Chen et
    al., "Attention in large language models yields efficient zero-shot re-rankers", 2024, whose calibration by "N/A"
    this is)
    """
    asked, drawn = compared_weights(lm, ids, rows, neutral, heads)
    return np.maximum(asked - drawn, 0)


def compared_weights(
    lm: CausalLM,
    ids: Sequence[int],
    rows: Sequence[Sequence[int]],
    neutral: Neutral,
    heads: Sequence[Head] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What rows look at before `start`, and what those of a question of nothing do, (heads, groups, start) each.

    What stands before `start` is read once: the cost is that of one prefill, up to the deepest layer of `heads`, and of
    the neutral tokens.
    """
    cache = _read(lm, ids[: neutral.start], heads)
    sliding = any(getattr(layer, "is_sliding", False) for layer in cache.layers)
    other = deepcopy(cache) if sliding else cache
    found = _stacked(lm, _looked(lm, ids[neutral.start :], rows, heads, cache), heads)[:, :, : neutral.start]
    if not sliding:
        cache.crop(neutral.start - cache.get_seq_length())
    drawn = _stacked(lm, _looked(lm, neutral.ids, neutral.rows, heads, other), heads)[:, :, : neutral.start]
    return found, drawn


def _read(lm: CausalLM, ids: Sequence[int], heads: Sequence[Head] | None) -> Any:
    from transformers import DynamicCache

    cache = DynamicCache(config=lm.model.config)
    with nullcontext() if heads is None else through(lm.model, Until(max(layer for layer, _ in heads))):
        _run(lm, ids, cache)
    return cache


def _looked(
    lm: CausalLM, ids: Sequence[int], rows: Sequence[Sequence[int]], heads: Sequence[Head] | None, cache: Any = None
) -> Weights:
    by_layer: dict[int, list[int]] = {}
    for layer, head in heads or ():
        by_layer.setdefault(layer, []).append(head)
    before = 0 if cache is None else cache.get_seq_length()
    seen = Weights(rows, None if heads is None else by_layer, before)
    with through(lm.model, seen):
        _run(lm, ids, cache)
    return seen


def _run(lm: CausalLM, ids: Sequence[int], cache: Any) -> None:
    import torch

    given: dict[str, Any] = {"use_cache": False} if cache is None else cache_argument(lm.model, cache)
    if "logits_to_keep" in signature(lm.model.forward).parameters:
        given["logits_to_keep"] = 1
    try:
        with torch.inference_mode():
            lm.model(torch.tensor([list(ids)], device=lm.model.device), **given)
    except _Enough:
        return
    except (RuntimeError, MemoryError) as error:
        words = " ".join(str(error).split())[:400]
        raise ModelError(f"{lm.name} failed while its heads were looked at: {words}") from error


def _stacked(lm: CausalLM, seen: Weights, heads: Sequence[Head] | None) -> np.ndarray:
    """All heads of all layers, or those asked for, in their order."""
    if heads is None:
        nothing = np.zeros_like(next(iter(seen.at.values())))
        layers = range(lm.model.config.get_text_config().num_hidden_layers)
        return np.concatenate([seen.at.get(layer, nothing) for layer in layers])
    assert seen.heads is not None
    if (missing := next((layer for layer, _ in heads if layer not in seen.at), None)) is not None:
        raise ModelError(f"layer {missing} of {lm.name} calls no attention that can be looked at")
    return np.stack([seen.at[layer][list(seen.heads[layer]).index(head)] for layer, head in heads])
