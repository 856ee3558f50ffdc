"""Where a local model looked: the attention that an answer's sentences, and the question, gave to the passages.

    A(x) = mean over heads of  sum_rows a_h(row, x) / sum_rows sum_x' a_h(row, x')

The answer is read once more behind its prompt, and the chosen heads' softmax is made for the rows of each sentence and
of the question; `x` are the passages' characters. Of all heads the mean says little: most look at the first token, at
punctuation and at what is near. Heads that point at evidence are few, and found by a probe (`fovea heads MODEL`).

Attention is no proof that a passage was used, and its absence is none that it was not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.attention_retrieval.heads.weights import Head, weights
from fovea.pipelines.answering.attended import by_character, phrases, shares
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.passages import cited
from fovea.rag.causal_lm import CausalLM
from fovea.rag.corpus import Corpus
from fovea.rag.types import Answer, Citation, Span

SENTENCES, PHRASES = 3, 5
"""How many of each are named, at most."""


@dataclass(frozen=True)
class Look:
    """Where one sentence of the answer looked, or the question, which has no place in it. A citation's score is its
    share of the attention to all passages.
    """

    said: str
    start: int | None
    end: int | None
    passages: float
    """Of the heads' attention the part that went to passages: the rest lies on the prompt's other words."""
    sentences: tuple[Citation, ...]
    phrases: tuple[Citation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON."""
        named = {"sentences": [_plain(c) for c in self.sentences], "phrases": [_plain(c) for c in self.phrases]}
        return {"said": self.said, "start": self.start, "end": self.end, "passages": self.passages, **named}


def looks(lm: CausalLM, heads: Sequence[Head], layout: Layout, answer: Answer, corpus: Corpus) -> list[Look]:
    """Where the question looked, and each sentence of the answer, through these heads; one prefill of both.

    Raises ModelError for a model whose attention cannot be looked at.
    """
    encoded = lm.tokenizer(answer.text, add_special_tokens=False, return_offsets_mapping=True)
    prompt, spans = len(layout.ids), encoded["offset_mapping"]
    said: list[tuple[str, int | None, int | None]] = [(layout.text[slice(*layout.question)], None, None)]
    rows: list[Sequence[int]] = [layout.tokens(*layout.question)]
    for sentence in answer.sentences:
        mine = [prompt + n for n, (low, high) in enumerate(spans) if low < sentence.end and high > sentence.start]
        if mine:
            said.append((sentence.text, sentence.start, sentence.end))
            rows.append(mine)
    found = weights(lm, [*layout.ids, *encoded["input_ids"]], rows, heads)
    return [_look(layout, found[:, n], each, corpus) for n, each in enumerate(said)]


def _look(
    layout: Layout, attention: np.ndarray, said: tuple[str, int | None, int | None], corpus: Corpus
) -> Look:
    """From `attention` (heads, tokens) of one group of rows."""
    densities = [by_character(len(layout.text), layout.offsets, one[: len(layout.ids)]) for one in attention]
    inside = np.zeros(len(layout.text), bool)
    for start, hit in zip(layout.passages, layout.hits):
        if start is not None:
            inside[start : start + len(hit.chunk.text)] = True
    parts = [density[inside].sum() for density in densities]
    density = np.mean([one / part if part > 0 else one for one, part in zip(densities, parts)], axis=0)
    sentences, words = [], []
    for start, hit in zip(layout.passages, layout.hits):
        if start is None:
            continue
        mine = density[start : start + len(hit.chunk.text)]
        document = corpus.document(hit.chunk.document_id)
        for spans, kept in ((shares(hit.chunk.text, mine), sentences), (phrases(hit.chunk.text, mine), words)):
            kept += [cited(document, Span(hit.chunk.start + a, hit.chunk.start + b), share) for a, b, share in spans]
    best = [tuple(_best(kept, most)) for kept, most in ((sentences, SENTENCES), (words, PHRASES))]
    return Look(*said, round(float(np.mean(parts)), 4), *best)


def _best(places: Sequence[Citation], most: int) -> list[Citation]:
    return sorted(places, key=lambda place: -(place.score or 0))[:most]


def _plain(place: Citation) -> dict[str, Any]:
    return {
        "document": place.document_id,
        "source": place.source,
        "start": place.start,
        "end": place.end,
        "line": place.line,
        "page": place.page,
        "text": place.quote,
        "share": place.score,
    }
