"""LearnedRetriever: a change of the question's vector that was trained, for one encoder's vectors."""

from __future__ import annotations

from functools import cached_property

from rag.corpus import Corpus
from rag.trained import Trained, load
from retrievers.query_side import QuerySideRetriever


class LearnedRetriever(QuerySideRetriever):
    """Loads weights on first use and refuses an encoder they were not trained on."""

    weights: str
    """The name of shipped weights, or the path of one's own."""

    @cached_property
    def trained(self) -> Trained:
        """The weights. Raises ModelError where they cannot be had."""
        return load(self.weights, self.name, self.kind)

    @cached_property
    def fingerprint(self) -> str:
        """What decides the results: settings and the content of the weights, wherever they lie."""
        before = {"after": self.after.fingerprint} if self.after else {}
        return self.fingerprint_with(weights=self.trained.digest, **before)

    def for_corpus(self, corpus: Corpus) -> Trained:
        """The weights, once they are known to be for the corpus's encoder; raises ConfigError where they are not."""
        self.trained.check(corpus.encoder, where=f"retrieve {self.name}")
        return self.trained
