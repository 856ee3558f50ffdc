"""A small server of OpenAI's chat completions, on a port of its own, that says and fails as it is told.

    with ChatServer([["The Moon ", "is far [1]."]]) as server:
        OpenAIGenerator(base_url=server.url, model="tiny")

Each request takes the next reply of the script, the last one for ever. A reply is a list of pieces, or a `Reply`.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Self

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse


class Running:
    """An application that listens on a free port while the block runs."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}/v1"

    def __enter__(self) -> Self:
        config = uvicorn.Config(self.app, port=0, log_level="critical", timeout_graceful_shutdown=0)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        until = time.monotonic() + 20
        while not self.server.started:
            assert self.thread.is_alive(), "the server did not start"
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join(10)


@dataclass
class Reply:
    pieces: list[Any] = field(default_factory=list)
    """Texts; a mapping is a delta as it is; a number is a pause in seconds; bytes go out as they are."""
    finish: str | None = "stop"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    """What is sent in place of a stream: a mapping as JSON, bytes as they are."""
    drop: bool = False
    """Whether the connection is dropped behind the pieces."""
    usage: bool = True


class ChatServer(Running):
    def __init__(self, replies: list[Any], models: tuple[str, ...] = ("tiny", "tiny-large")) -> None:
        self.replies = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
        self.models, self.heard, self.headers, self.times = models, [], [], []
        self.gone = threading.Event()
        """Set once a client has gone in the middle of a stream."""
        super().__init__(FastAPI())
        self.app.post("/v1/chat/completions")(self._completions)
        self.app.get("/v1/models")(self._models)

    async def _models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}

    async def _completions(self, request: Request) -> Response:
        self.heard.append(await request.json())
        self.headers.append(dict(request.headers))
        self.times.append(time.monotonic())
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if reply.body is not None or reply.status != 200:
            if isinstance(reply.body, bytes):
                return Response(reply.body, reply.status, reply.headers)
            return JSONResponse(reply.body or {"error": {"message": "no"}}, reply.status, reply.headers)
        return StreamingResponse(self._stream(reply), headers={"content-type": "text/event-stream"})

    async def _stream(self, reply: Reply) -> AsyncIterator[bytes]:
        try:
            for piece in reply.pieces:
                if isinstance(piece, (int, float)):
                    await asyncio.sleep(piece)
                elif isinstance(piece, bytes):
                    yield piece
                else:
                    yield _event({"content": piece} if isinstance(piece, str) else piece)
            if reply.drop:
                raise ConnectionError("dropped on purpose")
            yield _event({}, reply.finish)
            if reply.usage:
                usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
                yield b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"
            yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.gone.set()
            raise


def _event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    )
