"""Which heads point at evidence: whose attention, from a question's tokens, lies on the sentence that answers it.

    score(h) = mean over probes of  a_h(gold) / sum_s a_h(s),    a_h(s) = attention of the rows to the tokens of s

summed over the sentences `s` of the passages. All tokens of the question are rows, not the last of the prompt alone,
which says far less; the answer's tokens are a probe of their own. (The idea of scoring heads by where they look is of
W. Wu et al., "Retrieval head mechanistically explains long-context factuality", 2024, whose heads copy.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fovea.attention_retrieval.heads.weights import weights
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.progress import bar


@dataclass(frozen=True)
class Probe:
    """A prompt's tokens, which of them ask, where its sentences lie, (start, stop) by tokens, and which one answers."""

    ids: Sequence[int]
    rows: Sequence[int]
    sentences: Sequence[tuple[int, int]]
    gold: int


def pointing_scores(lm: CausalLM, probes: Iterable[Probe], total: int) -> np.ndarray:
    """How much each head points at evidence, (layers, heads), 0 to 1; a prefill a probe.

    Raises ConfigError where there is no probe.
    """
    config = lm.model.config.get_text_config()
    shares = []
    with bar("probing heads", total) as progress:
        for probe in probes:
            shares.append(by_sentence(weights(lm, probe.ids, [probe.rows])[:, 0], probe.sentences)[:, probe.gold])
            progress.advance()
    if not shares:
        raise ConfigError("there is no probe to score heads by")
    return np.mean(shares, axis=0).reshape(-1, config.num_attention_heads)


def by_sentence(attention: np.ndarray, sentences: Sequence[tuple[int, int]]) -> np.ndarray:
    """Each sentence's share of `attention` (heads, tokens) among all of them, (heads, sentences)."""
    sums = np.stack([attention[:, start:stop].sum(axis=1) for start, stop in sentences], axis=1)
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)
