"""Selection by what a passage is worth: the share of the evidence that it is expected to hold, for the tokens it takes.

    s_i = p_i / (p_1 + ... + p_n)        keep i  where  100 s_i / tokens_i >= worth

If p_i is the probability that passage i is part of the evidence, the mean share of the evidence that a context holds is
about the sum of its s_i. Of all ways to spend a number of tokens over many questions, that sum is highest where every
passage above one price per token is taken and none below it (the continuous knapsack: Dantzig, 1957,
"Discrete-variable extremum problems"). So `worth` is that price: where the re-ranker is sure, a passage or two meet it;
where it is at a loss none does, and no tokens are wasted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Self

from pydantic import Field

from fovea.rag.corpus import Corpus
from fovea.rag.types import Hit
from fovea.retrievers.selection import Selection

STEP, STEPS = 0.8, 30
"""One step of feedback lowers the price to this share; so many steps, and it keeps all or the least."""


class ExpectedRecallSelection(Selection, name="expected_recall"):
    """Keeps the hits whose expected share of the evidence per 100 tokens reaches `worth`, and the best `min_k`.

    Short passages need less probability than long ones; tokens are counted by the encoder's own tokenizer.
    """

    worth: Annotated[float, Field(gt=0)] = 0.03
    """The least share of the evidence expected in 100 tokens of a passage: 0.03 is 3 %."""

    def verdicts(self, ranked: Sequence[Hit], corpus: Corpus) -> list[str]:
        """Of those above the price the `max_k` of highest probability; O(n), and counting the tokens of all."""
        self.check([hit.score for hit in ranked])
        total, count = sum(hit.score for hit in ranked), corpus.encoder.tokenizer.count
        found: list[str] = []
        for rank, hit in enumerate(ranked):
            tokens = count(hit.chunk.text)
            share = hit.score / total if total > 0 else 0.0
            if rank >= self.min_k and 100 * share < self.worth * tokens:
                found.append(f"{share:.1%} of the evidence expected in {tokens} tokens")
            else:
                found.append(self.over() if found.count("") == self.max_k else "")
        return found

    def doubts(self, scores: Sequence[float], k: int) -> Iterator[str]:
        """Also where nothing was worth its tokens."""
        if sum(scores) <= 0:
            yield f"all probabilities are 0: the first {k} are kept"
        elif known := list(super().doubts(scores, k)):
            yield from known
        elif k == self.min_k and len(scores) * sum(scores[:k]) < 2 * k * sum(scores):
            yield f"the best hits are hardly more likely than the others: the first {k} are kept"

    def moved(self, steps: int) -> Self | None:
        """The price is four fifths of what it was at each step; None beyond 30 steps."""
        return self.model_copy(update={"worth": self.worth * STEP**steps}) if abs(steps) <= STEPS else None

    @property
    def position(self) -> dict[str, float]:
        """The price."""
        return {"worth": round(self.worth, 6)}
