"""Case: one question with what a pipeline made of it, as metrics see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fovea.pipelines.answering.refusals import is_refusal
from fovea.pipelines.evaluation.gold import Question
from fovea.rag.encoder import Encoder
from fovea.rag.types import Answer, Hit

if TYPE_CHECKING:
    import numpy as np

    from fovea.pipelines.evaluation.judging import Judging
    from fovea.pipelines.evaluation.span_metrics import SpanScores

APART = 1 << 40
"""Characters; no document is as long."""
KEPT = 50_000
"""Vectors and sizes that are remembered."""


class Texts:
    """What is known of texts by an encoder: vectors and tokens, each made once."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self._vectors: dict[str, np.ndarray] = {}
        self._asked: dict[str, np.ndarray] = {}
        self._sizes: dict[str, int] = {}

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors, float32 `(texts, dim)`."""
        import numpy as np

        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        found = {text: self._vectors[text] for text in texts if text in self._vectors}
        if new:
            found |= dict(zip(new, self.encoder.encode(new)))
        if len(self._vectors) < KEPT:
            self._vectors |= found
        return np.stack([found[text] for text in texts])

    def asked(self, question: str) -> np.ndarray:
        """The vector of a question `(dim,)`."""
        if question not in self._asked:
            self._asked[question] = self.encoder.encode([question], role="query")[0]
        return self._asked[question]

    def cosine(self, a: str, b: str) -> float:
        """The inner product of the vectors of two texts."""
        first, second = self.vectors([a, b])
        return float(first @ second)

    def tokens(self, text: str) -> int:
        """How many tokens the encoder's own tokenizer counts."""
        if (size := self._sizes.get(text)) is None:
            size = self.encoder.tokenizer.count(text)
            if len(self._sizes) < KEPT:
                self._sizes[text] = size
        return size


class Line:
    """One line for spans of any documents, which lie `APART` from each other: for
    `fovea.pipelines.evaluation.span_metrics`."""

    def __init__(self) -> None:
        self._documents: dict[str, int] = {}

    def spans(self, places: Iterable[tuple[str, int, int]]) -> np.ndarray:
        """(document, start, end) as int64 `(places, 2)`."""
        import numpy as np

        found = []
        for document, start, end in places:
            at = self._documents.setdefault(document, len(self._documents)) * APART
            found.append((at + start, at + end))
        return np.array(found, np.int64).reshape(-1, 2)


@dataclass
class Case:
    """What a metric is computed from."""

    question: Question
    hits: Sequence[Hit]
    """The passages that were kept, best first."""
    texts: Texts
    answer: Answer | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    tokens: Mapping[str, int] = field(default_factory=dict)
    judging: Judging | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    line: Line = field(default_factory=Line)
    covered: dict[int | None, SpanScores] = field(default_factory=dict)
    """How well the passages cover the gold, within each budget of tokens that was asked for; None for no budget."""

    @property
    def said(self) -> Answer:
        """The answer; a metric that needs none is not asked for it."""
        assert self.answer is not None
        return self.answer

    @cached_property
    def abstained(self) -> bool:
        """Whether the answer says that there is none, or nothing at all."""
        return not self.said.text.strip() or is_refusal(self.said.text)

    @cached_property
    def unanswerable(self) -> bool:
        """Whether it is right to abstain: one of the set's answers says that there is none."""
        return any(map(is_refusal, self.question.answers))

    @cached_property
    def contexts(self) -> list[str]:
        """The texts of the passages."""
        return [hit.chunk.text for hit in self.hits]

    @cached_property
    def references(self) -> tuple[str, ...]:
        """The answers that are right; where the set has none, the gold spans, joined, are one."""
        if self.question.answers or not self.question.spans:
            return self.question.answers
        return (" ".join(gold.text for gold in self.question.spans),)

    @cached_property
    def right(self) -> tuple[str, ...]:
        """The references that state something, as gold spans always do: what an answer is compared with."""
        if not self.question.answers:
            return self.references
        return tuple(answer for answer in self.question.answers if not is_refusal(answer))

    @cached_property
    def gold(self) -> np.ndarray:
        """The gold spans, int64 `(spans, 2)`; of one that stands in several places, all of them."""
        return self.line.spans(place for g in self.question.spans for place in g.places)

    def reached(self, by_place: np.ndarray) -> np.ndarray:
        """Of numbers or truth values `(..., places)`, the highest of each gold span: `(..., spans)`."""
        import numpy as np

        counts = [len(g.places) for g in self.question.spans]
        if len(counts) == by_place.shape[-1]:
            return by_place
        found: np.ndarray = np.maximum.reduceat(by_place, np.cumsum([0, *counts[:-1]]), axis=-1)
        return found

    def nearest_gold(self, passages: np.ndarray) -> np.ndarray:
        """The gold spans `(spans, 2)`, each at the place that the passages hold most of."""
        import numpy as np

        from fovea.pipelines.evaluation.span_metrics import covered

        if len(self.gold) == len(self.question.spans):
            return self.gold
        held = covered(self.gold, passages) / (self.gold[:, 1] - self.gold[:, 0])
        ends = np.cumsum([len(g.places) for g in self.question.spans])
        starts = [0, *ends[:-1]]
        return self.gold[[a + int(held[a:b].argmax()) for a, b in zip(starts, ends)]]

    @cached_property
    def passages(self) -> np.ndarray:
        """The passages, int64 `(passages, 2)`, best first."""
        return self.line.spans((h.chunk.document_id, h.chunk.start, h.chunk.end) for h in self.hits)

    @cached_property
    def sizes(self) -> list[int]:
        """The tokens of each passage."""
        return [self.texts.tokens(text) for text in self.contexts]
