"""Generator: from a question and passages to an answer."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import GeneratorType
from typing import ClassVar

from fovea.rag.component import Component
from fovea.rag.corpus import Corpus
from fovea.rag.look import Look
from fovea.rag.types import Answer, Hit, Query

_gone: ContextVar[threading.Event | None] = ContextVar("fovea_gone", default=None)


def is_cancelled() -> bool:
    """Whether whoever waits for the running answer has gone; long loops ask now and then."""
    gone = _gone.get()
    return gone is not None and gone.is_set()


class Generator(Component, kind="generator"):
    """Writes the answer. `stream` yields the pieces as the model makes them; `finish` cites the whole."""

    @abstractmethod
    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The answer's text, piece by piece."""

    async def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, without blocking the event loop: in worker threads, where a model has no way of its own.

        When the caller goes, `is_cancelled` tells the model at its next token, and the pieces are closed in their
        thread.
        """
        context, pieces, gone = copy_context(), self.stream(query, hits, corpus), threading.Event()
        context.run(_gone.set, gone)

        def following() -> str | None:
            piece = context.run(next, pieces, None)
            if gone.is_set() and isinstance(pieces, GeneratorType):
                context.run(pieces.close)
            return piece

        try:
            while (piece := await asyncio.to_thread(following)) is not None:
                yield piece
        finally:
            gone.set()

    def beside(self, store: Path, base: Path) -> Generator:
        """The same, with what it keeps between questions in the folder `store`; relative paths start from `base`."""
        return self

    replies: ClassVar[bool] = False
    """Whether a language model stands behind it, that can be asked anything by `reply`."""

    def reply(self, messages: Sequence[tuple[str, str]], limit: int) -> str:
        """What the model says to `(role, text)` messages, reasoning left out, in at most `limit` tokens or so. Only of
        a generator that `replies`. Raises ModelError as `stream` does.
        """
        raise NotImplementedError(f"{type(self).__name__} has no model to ask")

    def looks(self, query: Query, answer: Answer, corpus: Corpus) -> list[Look]:
        """Where the model looked while it read the question, and wrote each sentence of `answer`; nothing where that is
        not known: of a model elsewhere, and of none.
        """
        return []

    @abstractmethod
    def finish(self, text: str, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Answer:
        """Split the joined text into sentences and cite each; a sentence with no support is left without citations."""
