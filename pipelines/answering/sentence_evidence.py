"""What the heads that point at evidence give to each sentence of a prompt's passages.

    e_h(s) = sum over tokens x of s of  max(mean over rows r of a_h(r, x) - mean over rows of a_h(neutral, x), 0)

Rows are all tokens of the question; the neutral ones are those of a question of nothing in its place, behind the same
passages, which are read once. The model reads no further than the deepest layer that holds one of the heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fovea.attention_retrieval.probes.weights import Head, evidence_weights
from fovea.pipelines.answering.layout import Layout
from fovea.rag.causal_lm import CausalLM
from fovea.rag.sentences import sentences


class Told(NamedTuple):
    """A sentence of a prompt: the number of its passage, from 0, and the characters [start, end) of that one's text."""

    passage: int
    start: int
    end: int


def sentence_evidence(lm: CausalLM, heads: Sequence[Head], layout: Layout) -> tuple[list[Told], np.ndarray]:
    """The sentences of all passages that stand in the prompt as they are, and what each head gives to each, (heads,
    sentences), at most 1 together for a head.

    Raises ModelError for a model that cannot be looked at, and for one that fails.
    """
    asks = layout.tokens(*layout.question)
    seen = evidence_weights(lm, layout.ids, [asks], layout.neutral(lm, 0), heads)[:, 0]
    told, places = [], []
    for n, (hit, at) in enumerate(zip(layout.hits, layout.passages)):
        for span in sentences(hit.chunk.text) if at is not None else ():
            told.append(Told(n, span.start, span.end))
            places.append(layout.tokens(at + span.start, at + span.end))
    sums = [seen[:, place.start : place.stop].sum(axis=1) for place in places]
    return told, np.stack(sums, axis=1) if sums else np.zeros((len(heads), 0))
