"""Attention weights of chosen rows and heads, as numbers: softmax(q . k * scaling) over what each row may see."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import numpy as np

from fovea.attention_retrieval.heads.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ModelError

Head = tuple[int, int]
"""Layer and query head, from 0."""


@dataclass
class Weights:
    """Mean weights of groups of rows of one text: `at[layer]` is (heads, groups, tokens), float32.

    `rows` are groups of positions; `heads` are those of each layer, all where it is None. Only these rows' logits are
    made: O(rows * heads * tokens * d) beside the model's own work.
    """

    rows: Sequence[Sequence[int]]
    heads: Mapping[int, Sequence[int]] | None = None
    at: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Keep one layer's; the output is as it came."""
        import torch

        heads = range(called.query.shape[1]) if self.heads is None else self.heads.get(called.layer, ())
        if len(heads):
            before = called.key.shape[2] - called.query.shape[2]
            flat = torch.tensor([row - before for group in self.rows for row in group], device=called.query.device)
            chosen = torch.tensor(list(heads), device=called.query.device)
            q = called.query[0, chosen][:, flat].float()
            k = called.key[0, chosen // called.group].float()
            logits = (q @ k.transpose(1, 2) * called.scaling).masked_fill(called.hidden[0, :, flat], float("-inf"))
            parts = logits.softmax(-1).split([len(group) for group in self.rows], dim=1)
            self.at[called.layer] = torch.stack([part.mean(1) for part in parts], dim=1).cpu().numpy()
        return out


def weights(
    lm: CausalLM, ids: Sequence[int], rows: Sequence[Sequence[int]], heads: Iterable[Head] | None = None
) -> np.ndarray:
    """What rows of a text look at, (heads, groups, tokens): the mean over each group of `rows`, in one pass.

    The heads are in the order of `heads`, or all, layer by layer. Nobody else may run a model meanwhile that is not
    computed by sdpa. Raises ModelError for a model that cannot be looked at, and for one that fails.
    """
    import torch

    last = {"logits_to_keep": 1} if "logits_to_keep" in signature(lm.model.forward).parameters else {}
    chosen = None if heads is None else list(heads)
    by_layer: dict[int, list[int]] | None = None if chosen is None else {}
    for layer, head in chosen or ():
        by_layer.setdefault(layer, []).append(head)  # type: ignore[union-attr]
    seen = Weights(rows, by_layer)
    with torch.inference_mode(), through(lm.model, seen):
        try:
            lm.model(torch.tensor([list(ids)], device=lm.model.device), use_cache=False, **last)
        except (RuntimeError, MemoryError) as error:
            words = " ".join(str(error).split())[:400]
            raise ModelError(f"{lm.name} failed while its heads were looked at: {words}") from error
    if chosen is None:
        return np.concatenate([seen.at[layer] for layer in sorted(seen.at)])
    assert by_layer is not None
    return np.stack([seen.at[layer][by_layer[layer].index(head)] for layer, head in chosen])
