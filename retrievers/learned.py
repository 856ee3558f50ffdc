"""LearnedRetriever: a change of the question's vector that was trained, for one encoder's vectors."""

from __future__ import annotations

from typing import Any

from fovea.rag.corpus import Corpus
from fovea.rag.encoder import Encoder
from fovea.rag.trained import Trained
from fovea.rag.weighted import Weighted
from fovea.retrievers.query_side import QuerySideRetriever


class LearnedRetriever(Weighted, QuerySideRetriever):
    """Refuses an encoder its weights were not trained on."""

    def content(self) -> dict[str, Any]:
        """The content of the weights, and of the retriever before this one."""
        return {**super().content(), **({"after": self.after.fingerprint} if self.after else {})}

    def for_corpus(self, corpus: Corpus) -> Trained:
        """The weights, once they are known to be for the corpus's encoder; raises ConfigError where they are not."""
        self.fit(corpus.encoder)
        return self.trained

    def fit(self, encoder: Encoder) -> None:
        """Raise ConfigError unless the weights read the vectors of `encoder`."""
        self.trained.check(encoder, where=f"retrieve {self.name}")
