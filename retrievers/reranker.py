"""A small re-ranker: evidence beside the first stage's score, weighed by what was learned from judged questions.

    r(q, c) = s(q, c) + w . x(q, c)
    p(q, c) = sigmoid(sharpness * (r(q, c) - max over passages r(q, .)) + level . t(q) + bias)

with s the score that the hit came with, in standard deviations of similarity (`fovea.retrievers.scales.deviation`), x
the evidence for passage c (`fovea.retrievers.evidence`), none of which may count against what it speaks for, and t
numbers about the question's hits, which say how sure the best passage is. Evidence is added to the score and does not
stand in its place: where the first stage is far ahead, or all passages have the same evidence, the order stays. Nothing
is encoded. The probabilities are calibrated, so that rules which add or compare them can follow. `fovea train retriever
reranker` learns the numbers on one's own questions in a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.errors import ConfigError
from fovea.rag.placed import NameOrPath
from fovea.rag.retrieval import Refiner
from fovea.rag.trained import Trained
from fovea.rag.types import Hit, Query
from fovea.rag.weighted import Weighted
from fovea.retrievers.evidence import NAMES, evidence
from fovea.retrievers.scales import deviation

if TYPE_CHECKING:
    import numpy as np

LISTED = ("meaning", "words", "window", "ahead", "agreement", "flat")
"""What is known of a question's hits: t."""


class Reranker(Weighted, Refiner, name="reranker"):
    """Gives the first `top_n` hits the probability that they answer and orders them by it; hits below are dropped."""

    gives: ClassVar[frozenset[str]] = frozenset({"probabilities"})

    weights: NameOrPath = "reranker"
    """The name of shipped weights, or the path of one's own."""
    top_n: PositiveInt = 20
    """How many hits are read."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The first `top_n` hits by falling probability, equal ones in the order given. O(words of the hits).

        Raises ConfigError for another encoder than that of the weights and for weights of an older form, ModelError
        for weights that cannot be had.
        """
        read, below = list(hits[: self.top_n]), hits[self.top_n :]
        for hit in below:
            trace.current().drop(hit, f"below the first {self.top_n} hits, which alone the re-ranker reads")
        if not read:
            return []
        self.fit(corpus.encoder)
        scores = in_deviations(read, corpus)
        found = probabilities(self.trained, scores, evidence(query, read, scores, corpus))
        scored = [hit.scored(self.name, float(p)) for hit, p in zip(read, found)]
        return sorted(scored, key=lambda hit: -hit.score)

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights were trained on evidence of `encoder`, and on what is evidence now."""
        self.trained.check(encoder, where="refine reranker")
        if self.trained.about.get("evidence") != list(NAMES) or self.trained.about.get("listed") != list(LISTED):
            raise ConfigError(
                f"the weights {self.weights!r} are of a re-ranker of another version, which read other evidence",
                where="refine reranker",
                fix="fovea train retriever reranker --data ... anew, or leave 'weights' out",
            )


def in_deviations(hits: Sequence[Hit], corpus: Corpus) -> np.ndarray:
    """The scores of hits in standard deviations of similarity, `(hits,)`, the best 0."""
    import numpy as np

    scores = np.array([hit.score for hit in hits], np.float64) / deviation(hits, corpus)
    return scores - scores.max()


def listed(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What a question's hits are like, float32 `(6,)` in the order of `LISTED`: the meaning, words and window of the
    best hit; how far it is ahead of the second; whether it is best by meaning and BM25 too; and how BM25 falls.
    """
    import numpy as np

    first, after = int(scores.argmax()), np.sort(scores)[::-1]
    at = {name: rows[:, NAMES.index(name)] for name in ("meaning", "words", "window", "bm25")}
    best = (at[name].max() - at[name][first] < 1e-6 for name in ("meaning", "bm25"))
    ahead = min(float(after[0] - after[1]), 4.0) if len(after) > 1 else 4.0
    return np.array(
        [
            at["meaning"][first] / 5,
            at["words"][first],
            at["window"][first],
            ahead / 4,
            sum(best) / 2,
            at["bm25"].mean(),
        ],
        np.float32,
    )


def ranking(trained: Trained, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The scores with what the evidence adds, `(hits,)`."""
    return scores + rows / trained.arrays["scale"] @ trained.arrays["weight"]


def probabilities(trained: Trained, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """How likely each passage answers, `(hits,)`, from scores in deviations and evidence `(hits, 15)`."""
    import numpy as np

    a, ranked = trained.arrays, ranking(trained, scores, rows)
    logits = a["sharpness"] * (ranked - ranked.max()) + listed(scores, rows) @ a["level"] + a["bias"]
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
