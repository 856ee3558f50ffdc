"""AttentionInfluence: how much a model needs its retrieval heads to read a text.

    influence = (loss without them - loss) / loss

Without them: the strongest heads attend to all tokens alike. A text of much influence refers back to itself; a list of
names or a run of slogans does not. (K. Hua et al., "AttentionInfluence: adopting attention head influence for
weak-to-strong pretraining data selection", 2025)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.retrieval_heads import Blurred
from fovea.attention_retrieval.probes.through import Called, through
from fovea.rag.causal_lm import CausalLM
from fovea.rag.progress import bar

SHARE = 0.05
"""Of all heads, those that are blurred."""


def influences(
    lm: CausalLM, texts: Sequence[str], heads: Mapping[int, Sequence[int]], *, tokens: int = 1024
) -> np.ndarray:
    """The influence of `heads` on the first `tokens` tokens of each text, (texts,); 0 for one of fewer than two."""
    found = np.zeros(len(texts))
    with bar("influence", len(texts)) as progress:
        for n, text in enumerate(texts):
            ids = list(lm.tokenizer(text, truncation=True, max_length=tokens)["input_ids"])
            if len(ids) > 1:
                plain = loss(lm, ids)
                with through(lm.model, Blurred(heads)):
                    found[n] = (loss(lm, ids) - plain) / max(plain, 1e-9)
            progress.advance()
    return found


def loss(lm: CausalLM, ids: Sequence[int]) -> float:
    """Mean negative log-likelihood a token, in nats, of all but the first."""
    import torch

    with torch.inference_mode():
        row = torch.tensor([list(ids)], device=lm.model.device)
        logits = lm.model(row, use_cache=False).logits[0, :-1].float()
        return float(torch.nn.functional.cross_entropy(logits, row[0, 1:]))


@dataclass(frozen=True)
class Each:
    """Of a batch of as many copies of a text as a layer has heads, the n-th reads it without head n of that layer."""

    layer: int

    def __call__(self, called: Called, out: Any) -> Any:
        """Put running means of the values in the place of one head's output in each copy."""
        if called.layer != self.layer:
            return out
        for head in range(len(out)):
            one = called._replace(value=called.value[head : head + 1])
            out[head : head + 1] = Blurred({self.layer: [head]})(one, out[head : head + 1])
        return out


def head_influences(lm: CausalLM, texts: Sequence[str], *, tokens: int = 128) -> np.ndarray:
    """The influence of each head by itself on the first `tokens` tokens of the texts, the mean, (layers, heads).

    A pass over a text for each head: O(layers * heads) of them. Negative where a text is read better without.
    """
    import torch

    config = lm.model.config.get_text_config()
    layers, heads = config.num_hidden_layers, config.num_attention_heads
    found = np.zeros((len(texts), layers, heads))
    with bar("probing heads", len(texts) * layers) as progress, torch.inference_mode():
        for n, text in enumerate(texts):
            ids = list(lm.tokenizer(text, truncation=True, max_length=tokens)["input_ids"])
            plain = loss(lm, ids)
            rows = torch.tensor([ids] * heads, device=lm.model.device)
            for layer in range(layers):
                with through(lm.model, Each(layer)):
                    logits = lm.model(rows, use_cache=False).logits[:, :-1].float().transpose(1, 2)
                each = torch.nn.functional.cross_entropy(logits, rows[:, 1:], reduction="none").mean(dim=1)
                found[n, layer] = (each.cpu().numpy() - plain) / max(plain, 1e-9)
                progress.advance()
    return np.asarray(found.mean(axis=0))
