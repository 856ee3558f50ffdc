"""Generator: from a question and passages to an answer."""

from __future__ import annotations

import asyncio
import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from contextvars import ContextVar, copy_context
from pathlib import Path
from types import GeneratorType
from typing import ClassVar, TypeVar

from fovea.rag.component import Component
from fovea.rag.corpus import Corpus
from fovea.rag.look import Look
from fovea.rag.types import Answer, Hit, Query

Piece = TypeVar("Piece")

_gone: ContextVar[threading.Event | None] = ContextVar("fovea_gone", default=None)


def is_cancelled() -> bool:
    """Whether whoever waits for the running answer has gone; long loops ask now and then."""
    gone = _gone.get()
    return gone is not None and gone.is_set()


async def followed(pieces: Iterator[Piece]) -> AsyncGenerator[Piece]:
    """What an iterator gives, none of it None, each piece made in a worker thread. When the caller goes, `is_cancelled`
    tells whoever makes the pieces, and they are closed in their thread.
    """
    context, gone = copy_context(), threading.Event()
    context.run(_gone.set, gone)

    def following() -> Piece | None:
        piece = context.run(next, pieces, None)
        if gone.is_set() and isinstance(pieces, GeneratorType):
            context.run(pieces.close)
        return piece

    try:
        while (piece := await asyncio.to_thread(following)) is not None:
            yield piece
    finally:
        gone.set()


class Generator(Component, kind="generator"):
    """Writes the answer. `stream` yields the pieces as the model makes them; `finish` cites the whole."""

    @abstractmethod
    def stream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> Iterator[str]:
        """The answer's text, piece by piece."""

    async def astream(self, query: Query, hits: Sequence[Hit], corpus: Corpus) -> AsyncIterator[str]:
        """Like `stream`, without blocking the event loop: `followed`, where a model has no way of its own."""
        async with aclosing(followed(self.stream(query, hits, corpus))) as pieces:
            async for piece in pieces:
                yield piece

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
