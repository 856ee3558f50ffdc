"""How much each word of the passages was looked at, by groups of heads: what a text is coloured with.

    share(word) = sum over its characters of A_g(x) / sum over all passages' characters x' of A_g(x')

`A_g` is the mean over a group's heads of max(a - a_neutral, 0), as in `looks`: heads that point at evidence, heads that
copy, and all heads of the lower, the middle and the upper third of the layers. Attention is no proof that a word was
used, and its absence is none that it was not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fovea.attention_retrieval.heads.table import HeadTable
from fovea.attention_retrieval.probes.weights import Head, evidence_weights
from fovea.pipelines.answering.attended import WORD, by_character
from fovea.pipelines.answering.layout import Layout
from fovea.pipelines.answering.looks import Said, read_again
from fovea.pipelines.answering.probing import HEADS, NEAR
from fovea.rag.causal_lm import CausalLM
from fovea.rag.types import Answer, Hit

THIRDS = ("lower layers", "middle layers", "upper layers")


@dataclass(frozen=True)
class Heat:
    """`shares` (groups, rows, words), float64: of each group and row the words of all passages sum to 1, or all are 0.

    `words` are places `[start, end)` in their documents, of one passage after the other.
    """

    groups: Mapping[str, Sequence[Head]]
    """The heads, (layer, head) from 0, by the name of the group; `evidence` are those for the answer's rows."""
    rows: Sequence[Said]
    """The question, then the sentences of the answer."""
    hits: Sequence[Hit]
    words: Sequence[Sequence[tuple[int, int]]]
    shares: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """Plain data, ready for JSON; shares are rounded to 5 digits."""
        ends = np.cumsum([len(words) for words in self.words])[:-1]
        return {
            "groups": [{"name": name, "heads": [list(head) for head in heads]} for name, heads in self.groups.items()],
            "rows": [{"said": said, "start": start, "end": end} for said, start, end in self.rows],
            "passages": [
                {"chunk": hit.chunk.id, "document": hit.chunk.document_id, "source": hit.chunk.source,
                 "page": hit.chunk.page, "start": hit.chunk.start, "end": hit.chunk.end, "text": hit.chunk.text,
                 "words": [list(word) for word in words], "shares": part.round(5).tolist()}
                for hit, words, part in zip(self.hits, self.words, np.split(self.shares, ends, axis=2))
            ],
        }  # fmt: skip


def heat(lm: CausalLM, evidence: HeadTable, copy: HeadTable | None, layout: Layout, answer: Answer) -> Heat:
    """The shares of all groups, by one prefill of prompt and answer and one of a question of nothing.

    Raises ModelError for a model whose attention cannot be looked at. Memory: heads * (1 + sentences) * tokens numbers.
    """
    ids, said, rows = read_again(lm, layout, answer)
    seen = evidence_weights(lm, ids, rows, layout.neutral(lm, len(said) - 1))
    layers, heads = np.shape(evidence.scores["answer"])
    groups = _groups(evidence, copy, layers, heads)
    asking = evidence.strongest("question", HEADS, near=NEAR)  # other heads point while the question is read
    there = [(hit, at) for hit, at in zip(layout.hits, layout.passages) if at is not None]
    words = [[match.span() for match in WORD.finditer(hit.chunk.text)] for hit, _ in there]
    shares = np.zeros((len(groups), len(said), sum(map(len, words))))
    for g, (name, chosen) in enumerate(groups.items()):
        for r in range(len(said)):
            mine = asking if name == "evidence" and r == 0 else chosen
            attention = seen[[layer * heads + head for layer, head in mine], r].mean(axis=0)
            shares[g, r] = _shares(by_character(len(layout.text), layout.offsets, attention), there, words)
    placed = [[(hit.chunk.start + a, hit.chunk.start + b) for a, b in some] for (hit, _), some in zip(there, words)]
    return Heat(groups, said, [hit for hit, _ in there], placed, shares)


def _groups(evidence: HeadTable, copy: HeadTable | None, layers: int, heads: int) -> dict[str, list[Head]]:
    groups = {"evidence": evidence.strongest("answer", HEADS, near=NEAR)}
    if copy is not None:
        groups["copying"] = copy.strongest("copy", HEADS, near=NEAR)
    thirds = np.array_split(np.arange(layers), len(THIRDS))
    for name, third in zip(THIRDS, thirds):
        if len(third):
            groups[name] = [(int(layer), head) for layer in third for head in range(heads)]
    return groups


def _shares(
    density: np.ndarray, there: Sequence[tuple[Hit, int]], words: Sequence[Sequence[tuple[int, int]]]
) -> np.ndarray:
    """What each word got of what all words did."""
    got = [density[at + a : at + b].sum() for (_, at), some in zip(there, words) for a, b in some]
    return np.array(got) / max(float(sum(got)), 1e-12)
