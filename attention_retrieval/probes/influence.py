"""AttentionInfluence: how much a model needs its retrieval heads to read a text.

    influence = (loss without them - loss) / loss

Without them: the strongest heads attend to all tokens alike. A text of much influence refers back to itself; a list of
names or a run of slogans does not. (K. Hua et al., "AttentionInfluence: adopting attention head influence for
weak-to-strong pretraining data selection", 2025)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fovea.attention_retrieval.probes.retrieval_heads import Blurred
from fovea.attention_retrieval.probes.through import through
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
