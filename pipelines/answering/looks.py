"""Where a local model looked: the attention that the question, and each sentence of an answer, gave to the passages.

    A(x) = w(x) / sum_x' w(x'),    w(x) = mean over heads h of  max(a_h(x) - a_neutral,h(x), 0)

`x` are the passages' tokens, `a_h(x)` the mean over the rows of a sentence of softmax_h(row, x), `a_neutral,h` the
same of a question of nothing. The answer is read once more behind its prompt, for a few heads' softmax alone. Of all
heads the mean says little: most look at the first token, at punctuation and at what is near. Heads that point at
evidence are few, and found by a probe (`fovea heads MODEL`).

Attention is no proof that a passage was used, and its absence is none that it was not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from fovea.attention_retrieval.heads.table import HeadTable
from fovea.attention_retrieval.probes.weights import evidence_weights
from fovea.pipelines.answering.attended import by_character, most_of_a_word, phrases, shares
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.passages import cited
from fovea.pipelines.answering.probing import HEADS, NEAR
from fovea.rag.causal_lm import CausalLM
from fovea.rag.corpus import Corpus
from fovea.rag.look import Look
from fovea.rag.types import Answer, Citation, Span

SENTENCES, PHRASES = 3, 5
"""How many of each are named, at most."""
FLOOR = 0.25
"""What a word of a phrase got, at least, of what the most attended word did."""


def looks(lm: CausalLM, table: HeadTable, layout: Layout, answer: Answer, corpus: Corpus) -> list[Look]:
    """Where the question looked, and each sentence of the answer; one prefill of both.

    Raises ModelError for a model whose attention cannot be looked at.
    """
    ids, said, rows = read_again(lm, layout, answer)
    by_kind = {kind: table.strongest(kind, HEADS, near=NEAR) for kind in ("question", "answer")}
    heads = sorted({head for each in by_kind.values() for head in each})
    neutral = layout.neutral(lm, len(said) - 1)
    seen = evidence_weights(lm, ids, rows, neutral, heads)
    places = {kind: [heads.index(head) for head in each] for kind, each in by_kind.items()}
    return [_look(layout, seen[places["answer" if n else "question"], n], each, corpus) for n, each in enumerate(said)]


Said = tuple[str, int | None, int | None]
"""What was said, and where in the answer, `[start, end)`; None for the question."""


def read_again(lm: CausalLM, layout: Layout, answer: Answer) -> tuple[list[int], list[Said], list[Sequence[int]]]:
    """The tokens of prompt and answer; the question and each sentence of the answer, and the rows of each."""
    encoded = lm.tokenizer(answer.text, add_special_tokens=False, return_offsets_mapping=True)
    prompt, spans = len(layout.ids), encoded["offset_mapping"]
    said: list[Said] = [(layout.text[slice(*layout.question)], None, None)]
    rows: list[Sequence[int]] = [layout.tokens(*layout.question)]
    for sentence in answer.sentences:
        mine = [prompt + n for n, (low, high) in enumerate(spans) if low < sentence.end and high > sentence.start]
        if mine:
            said.append((sentence.text, sentence.start, sentence.end))
            rows.append(mine)
    return [*layout.ids, *encoded["input_ids"]], said, rows


def _look(layout: Layout, attention: np.ndarray, said: Said, corpus: Corpus) -> Look:
    """From `attention` (heads, tokens) of one group of rows."""
    density = by_character(len(layout.text), layout.offsets, attention.mean(axis=0))
    begun = [(hit, at) for hit, at in zip(layout.hits, layout.passages) if at is not None]
    there = [(hit, density[at : at + len(hit.chunk.text)]) for hit, at in begun]
    whole = float(sum(mine.sum() for _, mine in there))
    there = [(hit, mine / max(whole, 1e-12)) for hit, mine in there]
    found: list[list[Citation]] = [[], []]
    floor = FLOOR * max((most_of_a_word(hit.chunk.text, mine) for hit, mine in there), default=0.0)
    for hit, mine in there:
        text, document = hit.chunk.text, corpus.document(hit.chunk.document_id)
        for kept, spans in zip(found, (shares(text, mine), phrases(text, mine, floor))):
            places = ((Span(hit.chunk.start + low, hit.chunk.start + high), share) for low, high, share in spans)
            kept += [cited(document, span, share) for span, share in places if share > 0]
    sentences, words = (sorted(_once(kept), key=lambda place: -place.score) for kept in found)
    return Look(*said, round(whole, 4), tuple(sentences[:SENTENCES]), tuple(words[:PHRASES]))


def _once(places: Sequence[Citation]) -> Iterable[Citation]:
    """A span that several passages hold, once: with the sum of what it got in each."""
    found: dict[tuple[str, int, int], Citation] = {}
    for place in places:
        key = place.document_id, place.start, place.end
        found[key] = replace(place, score=round(place.score + found[key].score, 4)) if key in found else place
    return found.values()
