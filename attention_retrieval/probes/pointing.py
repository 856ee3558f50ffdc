"""Which heads point at evidence: whose attention lies on the sentence that answers, beyond what a question of nothing
would have it do.

    score(h) = the share of probes in which  a_h(gold) > a_h(s)  for every other sentence s
    a_h(s)   = sum over the tokens x of sentence s of  max(mean over rows of softmax_h(row, x) - the same, neutral, 0)

Two kinds of rows, each with heads of its own: all tokens of the `question`, and those of the `answer`. The prompt's
last token, which begins the answer, points at less. (The idea of scoring heads by where they look is of W. Wu et al.,
"Retrieval head mechanistically explains long-context factuality", 2024, whose heads copy.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fovea.attention_retrieval.probes.weights import Neutral, evidence_weights
from fovea.rag.causal_lm import CausalLM
from fovea.rag.errors import ConfigError
from fovea.rag.progress import bar


@dataclass(frozen=True)
class Probe:
    """The tokens of a prompt and its answer, the rows of each kind, the neutral question in their place, where the
    sentences of the passages lie, (start, stop) by tokens, and which of them answers.
    """

    ids: Sequence[int]
    rows: Mapping[str, Sequence[int]]
    neutral: Neutral
    sentences: Sequence[tuple[int, int]]
    gold: int


def pointing_scores(lm: CausalLM, probes: Iterable[Probe], total: int) -> dict[str, np.ndarray]:
    """How much each head points at evidence, (layers, heads), 0 to 1, for each kind of rows; a prefill a probe.

    Raises ConfigError where there is no probe.
    """
    heads = lm.model.config.get_text_config().num_attention_heads
    hits: dict[str, list[np.ndarray]] = {}
    with bar("probing heads", total) as progress:
        for probe in probes:
            seen = evidence_weights(lm, probe.ids, list(probe.rows.values()), probe.neutral)
            for n, kind in enumerate(probe.rows):
                got = by_sentence(seen[:, n], probe.sentences)
                others = np.delete(got, probe.gold, axis=1).max(axis=1, initial=0)
                hits.setdefault(kind, []).append((got[:, probe.gold] > others).reshape(-1, heads))
            progress.advance()
    if not hits:
        raise ConfigError("there is no probe to score heads by")
    return {kind: np.mean(each, axis=0) for kind, each in hits.items()}


def by_sentence(attention: np.ndarray, sentences: Sequence[tuple[int, int]]) -> np.ndarray:
    """Each sentence's share of `attention` (heads, tokens) among all of them, (heads, sentences)."""
    sums = np.stack([attention[:, start:stop].sum(axis=1) for start, stop in sentences], axis=1)
    return sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)
