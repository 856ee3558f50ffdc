"""A budget for the context: as many of the best passages as the reader can take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from pydantic import NonNegativeInt, PositiveInt

from fovea.rag import trace
from fovea.rag.corpus import Corpus
from fovea.rag.retrieval import Refiner
from fovea.rag.types import Hit, Query


class TokenBudget(Refiner, name="token_budget"):
    """Keeps the best hits whose texts hold at most `max_tokens` tokens together.

    Goes down the list and keeps whatever still fits, so a long passage in between does not bar a short one after it.
    Every text is counted whole, by the encoder's own tokenizer, since that is what a reader is given: characters that
    two overlapping passages share count twice. `neighbours` with `before: 0, after: 0`, put before it, joins those.
    """

    gives: ClassVar[frozenset[str]] = frozenset({"token budget"})

    max_tokens: PositiveInt = 2000
    """Tokens of all texts together."""
    each: NonNegativeInt = 0
    """Tokens that the reader adds to every passage for its heading."""

    def refine(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> list[Hit]:
        """The hits that fit, in their order; none, with a warning, where even the smallest is over the budget."""
        stage, left, kept = trace.current(), self.max_tokens, []
        count = corpus.encoder.tokenizer.count
        for hit in hits:
            tokens = count(hit.chunk.text) + self.each
            if tokens <= left:
                left -= tokens
                kept.append(hit)
            else:
                stage.drop(hit, f"{tokens} tokens, with {left} of {self.max_tokens} left")
        if hits and not kept:
            trace.warn(f"token_budget: no passage fits into {self.max_tokens} tokens")
        stage.count(tokens=self.max_tokens - left)
        return kept
