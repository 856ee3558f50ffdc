"""Server-sent events: one answer piece by piece, for as long as the client listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fovea.pipelines.server.asking import left
from fovea.pipelines.server.json_response import to_text
from fovea.pipelines.server.problems import problem_of

log = logging.getLogger("fovea.server")
LAST = 5.0
"""Seconds beyond a request's time in which a client may read what is on its way; then it is let go."""
ALIVE = ": the server is at work\n\n"
"""A comment, which clients pass over and proxies take for a sign of life."""


def event(data: Any, name: str = "") -> str:
    """One event; plain data as one line of JSON."""
    text = data if isinstance(data, str) else to_text(data)
    return f"event: {name}\ndata: {text}\n\n" if name else f"data: {text}\n\n"


def failure(error: Exception, path: str) -> dict[str, Any]:
    """What an event says of an error in the middle of an answer; one that is no error of ours is logged."""
    problem = problem_of(error)
    if problem.status == 500:
        log.error("failed", exc_info=error)
    return problem.body(path)


class Events(StreamingResponse):
    """A stream of events, whose maker is closed as soon as the client goes, or reads no more when its time is over."""

    def __init__(self, events: AsyncGenerator[str]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self.events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the events, the client or the time are at their end."""
        sending = asyncio.ensure_future(self.stream_response(send))
        gone = asyncio.ensure_future(left(receive))
        try:
            left_over = scope["due"] + LAST - asyncio.get_running_loop().time()
            await asyncio.wait({sending, gone}, timeout=left_over, return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                scope["gone"] = 499
        finally:
            over = sending.done()
            sending.cancel()
            gone.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            await self.events.aclose()
        if over:
            sending.result()
