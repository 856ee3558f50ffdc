"""Which heads look far, from their mean query and key alone: an estimate of DuoAttention's alpha without training.

    q, k      mean query of a head and mean key of its kv head over texts, without rotary positions, behind any norms
    a_j       = softmax over j < n of  (R(n - 1) q) . (R(j) k) / sqrt(d)
    score     = mean over j of  a_0 + .. + a_j          1 where all lies at the far end, 1/n where it is near

(kvpress, `duo_attention_press.py`, August 2026, by NVIDIA; there keys and queries of Qwen3 and Gemma3 go without their
norms. Here they are taken where they meet, and their rotation is taken off.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fovea.attention_retrieval.probes.through import Called, through
from fovea.attention_retrieval.rotation import Rotation
from fovea.rag.causal_lm import CausalLM
from fovea.rag.progress import bar


@dataclass
class Sums:
    """Sums over tokens of un-rotated queries times the scaling (heads, d), and keys (kv heads, d), by layer."""

    rotation: Rotation
    tokens: int = 0
    queries: dict[int, np.ndarray] = field(default_factory=dict)
    keys: dict[int, np.ndarray] = field(default_factory=dict)

    def __call__(self, called: Called, out: Any) -> Any:
        """Add one layer's; the output is as it came."""
        back = -np.arange(called.query.shape[2])
        for sums, rows, times in ((self.queries, called.query, called.scaling), (self.keys, called.key, 1.0)):
            plain = self.rotation.moved(rows[0].float().cpu().numpy() * np.float32(times), back).sum(axis=1)
            sums[called.layer] = sums.get(called.layer, 0) + plain
        return out


def far_scores(lm: CausalLM, texts: Sequence[str], *, tokens: int = 500) -> np.ndarray:
    """How far each head looks, (layers, heads), 0 to 1; a prefill of at most `tokens` tokens a text.

    Raises ModelError for a model without rotary positions that can be taken off.
    """
    import torch

    config = lm.model.config.get_text_config()
    sums = Sums(Rotation.of(lm.model))
    with bar("probing heads", len(texts)) as progress, torch.inference_mode(), through(lm.model, sums):
        for text in texts:
            ids = lm.tokenizer(text, truncation=True, max_length=tokens)["input_ids"]
            lm.model(torch.tensor([ids], device=lm.model.device), use_cache=False)
            sums.tokens += len(ids)
            progress.advance()
    found = np.zeros((config.num_hidden_layers, config.num_attention_heads))
    for layer, queries in sums.queries.items():
        found[layer] = far(queries / sums.tokens, sums.keys[layer] / sums.tokens, sums.rotation, tokens)
    return found


def far(queries: np.ndarray, keys: np.ndarray, rotation: Rotation, n: int) -> np.ndarray:
    """The score of mean queries (heads, d), times the scaling, and mean keys (kv heads, d), at n places: (heads,)."""
    placed = rotation.moved(np.repeat(keys[:, None], n, axis=1), np.arange(n))
    asked = rotation.moved(queries[:, None], np.array([n - 1]))[:, 0].reshape(len(keys), -1, keys.shape[1])
    logits = np.einsum("kgd,knd->kgn", asked, placed).reshape(len(queries), n)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(weights.cumsum(axis=1).mean(axis=1))
