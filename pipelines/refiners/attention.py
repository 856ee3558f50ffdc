"""The reader's own attention as a re-ranker: its heads that point at evidence say which sentences they point at.

refine: [{use: attention, model: smollm2}]

    e(s)     = mean over heads h of  e_h(s) / sum over all sentences s' of e_h(s')
    score(p) = weight * e(p) / max e  +  (1 - weight) * (r(p) - min r) / (max r - min r)

with e_h(s) the attention that the question gives to sentence s beyond what a question of nothing does, e(p) the largest
e(s) of the sentences of passage p, or their sum, and r the scores that come in. The passages stand in one prompt, the
generator's own; the model reads it once, and no further than the deepest of these heads.
(The calibration is that of S. Chen et al., "Attention in large language models yields efficient zero-shot re-rankers",
2024, whose heads are all; heads that point at evidence are few, and found by a probe.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from fovea.pipelines.refiners.reading import ReadingRefiner
from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit, Query, Span

if TYPE_CHECKING:
    from fovea.pipelines.answering.layout import Layout

Evidence = Mapping[Span, float]
"""The share of each sentence of a passage, of those of all passages, by its characters in the document."""


NOTHING = 1e-6
"""Attention of a head that is no more than this is rounding, and none."""


class AttentionRefiner(ReadingRefiner, name="attention"):
    """Orders the first `top_n` hits by the attention that their sentences get, mixed with the scores they came with;
    hits below are dropped. The trace notes the sentences: characters of the document, and their share of all.

    Passages that do not fit the model's window together are read in several prompts; one that does not fit it alone is
    not read, and keeps what its own score is worth. Cost: a part of a prefill of the generator's prompt, 19 of 30
    layers of `smollm2`.
    """

    top_n: PositiveInt = 6
    """How many hits are read."""
    weight: float = Field(default=0.6, ge=0, le=1)
    """How much the attention counts; the scores that the hits came with count the rest."""
    passage: Literal["max", "sum"] = "max"
    """What a passage gets of its sentences: the best one's, or the sum."""
    spans: NonNegativeInt = 3
    """How many sentences of a passage the trace names, at most."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The first `top_n` hits by falling score, equal ones in the order given.

        Raises ModelError for a model that cannot be loaded, run or looked at.
        """
        read, below = list(hits[: self.top_n]), hits[self.top_n :]
        for hit in below:
            trace.current().drop(hit, f"below the first {self.top_n} hits, which alone the model reads")
        if not read:
            return []
        found = self.evidence(query, read, corpus)
        scores = mixed([h.score for h in read], [_of(each, self.passage) for each in found], self.weight)
        order = sorted(range(len(read)), key=lambda n: -scores[n])
        trace.current().note(spans=list(_noted([(read[n], found[n]) for n in order], self.spans)))
        return [read[n].scored(self.name, scores[n]) for n in order]

    def evidence(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Evidence]:
        """The shares of the sentences of each hit, in the order of the hits; none for one that was not read."""
        import numpy as np

        from fovea.pipelines.answering.sentence_evidence import sentence_evidence

        prompts = self._prompts(query, hits, corpus)
        read = [(numbers, *sentence_evidence(self.lm, self.pointing, layout)) for numbers, layout in prompts]
        given = np.concatenate([np.zeros((len(self.pointing), 0)), *(one for _, _, one in read)], axis=1)
        whole = given.sum(axis=1, keepdims=True)
        shares = iter(np.where(whole > NOTHING, given / np.maximum(whole, NOTHING), 0).mean(axis=0).tolist())
        found: list[dict[Span, float]] = [{} for _ in hits]
        for numbers, told, _ in read:
            for sentence in told:
                start = hits[n := numbers[sentence.passage]].chunk.start
                found[n][Span(start + sentence.start, start + sentence.end)] = next(shares)
        trace.warn(
            f"passages that {self.model} could not read whole keep the place that their own scores give them",
            len(hits) - sum(layout.passages[i] is not None for _, layout in prompts for i in range(len(layout.hits))),
        )
        trace.current().count(prompts=len(prompts), input_tokens=sum(len(layout.ids) for _, layout in prompts))
        return found

    def _prompts(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[tuple[list[int], Layout]]:
        """The fewest prompts that hold the hits, dealt out in turn, with the numbers of the hits in each."""
        from fovea.pipelines.answering.layout import Layout

        def made(numbers: list[int]) -> tuple[list[int], Layout]:
            return numbers, Layout.of(self.lm, query, [hits[n] for n in numbers], corpus=corpus)

        fit = list(range(len(hits)))
        if not self._fits(whole := made(fit)[1]):
            fit = [n for n in fit if self._fits(made([n])[1])]
            for count in range(1, len(fit) + 1):
                prompts = [made(fit[turn::count]) for turn in range(count)]
                if all(self._fits(layout) for _, layout in prompts):
                    return prompts
            return []
        return [(fit, whole)]

    def _fits(self, layout: Layout) -> bool:
        nothing = layout.neutral(self.lm, 0)
        longest = max(len(layout.ids), nothing.start + len(nothing.ids))
        return self.lm.window is None or longest <= self.lm.window


def mixed(incoming: Sequence[float], evidence: Sequence[float], weight: float) -> list[float]:
    """One score a hit, in [0, 1]: the evidence in shares of the best one's, the scores between their least and most."""
    low, high, most = min(incoming), max(incoming), max(evidence)
    came = [(score - low) / (high - low) if high > low else 0.0 for score in incoming]
    got = [each / most if most > 0 else 0.0 for each in evidence]
    return [weight * a + (1 - weight) * b for a, b in zip(got, came)]


def _of(sentences: Evidence, passage: str) -> float:
    return sum(sentences.values()) if passage == "sum" else max(sentences.values(), default=0.0)


def _noted(found: Sequence[tuple[Hit, Evidence]], most: int) -> Iterator[dict[str, Any]]:
    for hit, sentences in found:
        best = sorted(sentences.items(), key=lambda one: -one[1])[:most]
        spans = [{"start": s.start, "end": s.end, "share": round(got, 4)} for s, got in best if got > 0]
        yield {"chunk": hit.chunk.id, "spans": spans}
