"""Asking a pipeline on behalf of a client: within the gate, in the time allowed, and only while the client is there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, MutableMapping
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request

from fovea.pipelines.server.problems import Gone
from fovea.pipelines.server.served import Served
from fovea.rag.types import Answer

T = TypeVar("T")
BEAT = 10.0
"""Seconds without a piece after which a stream shows that it is alive."""


async def answering(
    served: Served, request: Request, name: str | None, question: str, options: dict[str, Any]
) -> AsyncGenerator[str | Answer]:
    """The pieces of the answer, then the Answer, once there is a place."""
    pipeline = served.pipeline(name, request)
    async with served.answering.place(), aclosing(pipeline.astream(question, **options)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Answer):
                served.metrics.staged(name or served.default, piece.trace)
            yield piece


async def whole(request: Request, pieces: AsyncGenerator[str | Answer]) -> Answer:
    """The Answer at the end of `pieces`; raises TimeoutError, and Gone."""

    async def last() -> Answer:
        answer = None
        async with asyncio.timeout_at(request.scope["due"]), aclosing(pieces):
            async for piece in pieces:
                answer = piece
        assert isinstance(answer, Answer)
        return answer

    return await while_there(request, last())


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled, and Gone raised, when the client goes."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(left(request.receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Gone
        return task.result()
    finally:
        for one in (task, gone):
            one.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def left(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    """Ends when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def paced(request: Request, pieces: AsyncGenerator[T]) -> AsyncGenerator[T | None]:
    """The pieces as they come, None where BEAT seconds brought none; raises TimeoutError when the time is over."""
    loop, coming = asyncio.get_running_loop(), None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(pieces, None))
            left = request.scope["due"] - loop.time()
            if left <= 0:
                raise TimeoutError
            await asyncio.wait({coming}, timeout=min(BEAT, left))
            if not coming.done():
                yield None
                continue
            piece, coming = coming.result(), None
            if piece is None:
                return
            yield piece
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
        await pieces.aclose()


async def started(request: Request, pieces: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """The same pieces, once the first is there: what is wrong with a question is raised before anything is sent.
    Raises TimeoutError, and Gone.
    """
    async with asyncio.timeout_at(request.scope["due"]):
        first = await while_there(request, anext(pieces))

    async def all_of_them() -> AsyncGenerator[T]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    return all_of_them()
