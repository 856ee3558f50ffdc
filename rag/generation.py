"""Generator: from a question and passages to an answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

from rag.component import Component
from rag.corpus import Corpus
from rag.types import Answer, Hit, Query


class Generator(Component, kind="generator"):
    """Writes the answer. `stream` yields the pieces as the model makes them; `finish` cites the whole."""

    @abstractmethod
    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The answer's text, piece by piece."""

    @abstractmethod
    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """Split the joined text into sentences and cite each; a sentence with no support is left without citations."""
