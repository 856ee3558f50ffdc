"""SALE's thresholds: for each query head the largest of a halving row that moves its output little enough.

    tau      = .008, halved while  sum over tokens and channels of |o_tau - o| >= error * N;  .0001 and less is 0
    o_tau    the head's output as SALE reads, all heads of the layer by their present tau;  o by full attention

The others' outputs are left as they are, so each head is judged by what the model's own layers give it. Layers that do
not look at all tokens are not SALE's to read, and have 0.
(X. Ji et al., "SALE", 2025, arXiv 2505.24179; one text of keys and values to find, error 1)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveFloat, PositiveInt

from fovea.attention_retrieval.attend import attend, attend_columns, merge
from fovea.attention_retrieval.cache.prompt import blocks
from fovea.attention_retrieval.prefill.key_blocks import BlockSize
from fovea.attention_retrieval.prefill.prefill import Block
from fovea.attention_retrieval.prefill.sale import LEAST, SALE
from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.written import Written


class Taus(Written):
    """Thresholds of a model's query heads, as SALE calibrates them, on passkeys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "heads"
    method: ClassVar[str] = "sale"

    tokens: PositiveInt = 2048
    """Of a text; those before `dense_below` move nothing."""
    texts: PositiveInt = 2
    """Of which each head has the least threshold."""
    keys: PositiveInt = 3
    """Pass keys in a text, ten at most."""
    digits: PositiveInt = 8
    """Of a pass key."""
    first: Annotated[float, Field(gt=0, le=1)] = 0.008
    """The largest threshold."""
    error: PositiveFloat = 1.0
    """What a token's output may move, the sum over its channels, as a mean over the text."""
    sinks: NonNegativeInt = 128
    """The first tokens, which every token reads: those of the settings that will use this."""
    window: NonNegativeInt = 128
    """As in `prefill: {use: sale}`, like the following."""
    block: BlockSize = 64
    key_block: PositiveInt = 32
    dense_below: NonNegativeInt = 1024

    def policy(self, taus: np.ndarray) -> SALE:
        """What reads by these, (query heads,), in layer 0."""
        names = ("window", "block", "key_block", "dense_below")
        return SALE(tau=[taus.tolist()], **{name: getattr(self, name) for name in names})


@dataclass
class Halved:
    """Thresholds by layer, of the one text of a call."""

    recipe: Taus
    found: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Find one layer's; the output is as it came. SALE reads the text once for each halving."""
        import torch

        heads, tokens = called.query.shape[1:3]
        taus = np.zeros(heads)
        causal = torch.ones_like(called.hidden[0, 0]).triu(1)
        if called.key.shape[2] == tokens and bool((called.hidden[0, 0] == causal).all()):
            exact, taus[:] = out[0].transpose(0, 1).float(), self.recipe.first
            while taus.any():
                moved = (self._read(called, taus).float() - exact).abs().sum(dim=(1, 2)).cpu().numpy()
                if not (over := (moved >= self.recipe.error * tokens) & (taus > 0)).any():
                    break
                taus[over] /= 2
                taus[taus <= LEAST] = 0
        self.found[called.layer] = taus
        return out

    def _read(self, called: Called, taus: np.ndarray) -> Any:
        """The layer's output, (query heads, tokens, d)."""
        import torch

        policy, query, keys, values = self.recipe.policy(taus), called.query[0], called.key[0], called.value[0]
        parts = []
        for first, last in blocks(0, query.shape[1], policy.rows):
            asked, own = query[:, first:last], slice(first, last)
            grouped = asked.unflatten(0, (len(keys), -1)) * called.scaling
            columns = policy.columns(Block(grouped, first, keys, values, self.recipe.sinks))
            part = attend(asked, keys[:, own], values[:, own], called.scaling, causal=True)
            parts.append(merge(*part, *attend_columns(asked, columns, keys, values, called.scaling))[0])
        return torch.cat(parts, dim=1)


def taus_of(lm: CausalLM, ids: Sequence[int], recipe: Taus) -> np.ndarray:
    """The thresholds on one text, (layers, query heads): a prefill, and up to eight by SALE in each layer.

    Raises ConfigError for a text of which all is read anyway.
    """
    import torch

    if len(ids) <= max(recipe.dense_below, recipe.window + recipe.sinks):
        what = f"a text of {len(ids)} tokens is read as a whole by these settings"
        raise ConfigError(what, where="tokens", fix="--set tokens=2048, or a smaller dense_below")
    halved, config = Halved(recipe), lm.model.config.get_text_config()
    with torch.inference_mode(), through(lm.model, halved):
        lm.model(torch.tensor([list(ids)], device=lm.model.device), use_cache=False)
    nothing = np.zeros(config.num_attention_heads)
    return np.stack([halved.found.get(layer, nothing) for layer in range(config.num_hidden_layers)])
