"""Generator: from a question and passages to an answer."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import copy_context

from fovea.rag.component import Component
from fovea.rag.corpus import Corpus
from fovea.rag.types import Answer, Hit, Query


class Generator(Component, kind="generator"):
    """Writes the answer. `stream` yields the pieces as the model makes them; `finish` cites the whole."""

    @abstractmethod
    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The answer's text, piece by piece."""

    async def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, without blocking the event loop: in worker threads, where a model has no way of its own."""
        context, pieces = copy_context(), self.stream(query, hits, corpus)

        def following() -> str | None:
            return context.run(lambda: next(pieces, None))

        while (piece := await asyncio.to_thread(following)) is not None:
            yield piece

    @abstractmethod
    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """Split the joined text into sentences and cite each; a sentence with no support is left without citations."""
