"""Guard: what happens to every request before and after its route, as one ASGI layer.

Host and origin, key, size and slowness of the body are looked at before a route runs; afterwards the request is counted
and logged as one line. A fault of ours becomes a 500 that says nothing of this machine; the log has the traceback.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers

from fovea.pipelines.server.problems import Gone, Problem, problem_of
from fovea.pipelines.server.served import Served

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

log = logging.getLogger("fovea.server")
SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
DIGITS = 18
"""Of a length of a body; a longer one is too large for anything."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Those that are counted by their names."""
GONE = 499
"""The status that the log gives a request whose client went."""


class Guard:
    """An ASGI layer around all routes."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], served: Served) -> None:
        self.app, self.served = app, served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, send)
        scope["due"] = asyncio.get_running_loop().time() + self.served.settings.timeout
        with self.served.metrics.running.track_inprogress():
            try:
                scope["caller"] = self._admitted(scope)
                await self.app(scope, self._limited(scope, receive), exchange.send)
            except Gone:
                scope["gone"] = GONE
            except asyncio.CancelledError:
                exchange.status = exchange.status or GONE
                raise
            except Exception as error:
                await self._failed(error, exchange, receive)
            finally:
                self._told(exchange)

    def _admitted(self, scope: Scope) -> Any:
        headers = Headers(scope=scope)
        self.served.origins.check(headers)
        path = scope["path"]
        if path in self.served.open_paths or path.startswith(tuple(self.served.open_below)):
            return self.served.keys.nobody
        return self.served.keys.caller(headers.get("authorization"))

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """The body, up to the size and the time that are allowed; it is counted as it comes."""
        settings, headers = self.served.settings, Headers(scope=scope)
        upload = scope["path"] == "/documents" or scope["path"].startswith("/documents/")
        most = int(settings.max_upload if upload else settings.max_body)
        length = headers.get("content-length", "")
        if length.isascii() and length.isdigit() and (len(length) > DIGITS or int(length) > most):
            raise _too_large(most, upload)
        seen, whole, now = 0, False, asyncio.get_running_loop().time

        async def limited() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, scope["due"] - now()))
            except TimeoutError:
                raise Problem(408, "the body did not come in time") from None
            seen += len(message.get("body", b""))
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            if seen > most:
                raise _too_large(most, upload)
            return message

        return limited

    async def _failed(self, error: Exception, exchange: _Exchange, receive: Receive) -> None:
        problem = problem_of(error)
        if problem.status == 500:
            log.error("failed", exc_info=error, extra={"fields": {"id": exchange.id}})
        if exchange.status:
            raise error  # Half an answer is out: the connection is closed.
        await problem.response(exchange.scope["path"])(exchange.scope, receive, exchange.send)

    def _told(self, exchange: _Exchange) -> None:
        scope, seconds = exchange.scope, time.perf_counter() - exchange.began
        route, metrics = getattr(scope.get("route"), "path", "unmatched"), self.served.metrics
        status = scope.get("gone") or exchange.status or GONE
        method = scope["method"] if scope["method"] in METHODS else "other"  # A counter for each would grow for ever.
        metrics.requests.labels(method, route, status).inc()
        metrics.seconds.labels(route).observe(seconds)
        if status == GONE:
            metrics.cancelled.labels(route).inc()
        caller = scope.get("caller")
        fields = {
            "id": exchange.id, "method": scope["method"], "route": route, "status": status,
            "seconds": round(seconds, 4), "key": getattr(caller, "name", ""), **scope.get("told", {}),
        }  # fmt: skip
        log.info("request", extra={"fields": fields})


class _Exchange:
    """One request and what was sent for it."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.scope, self._send = scope, send
        self.id, self.status, self.began = uuid4().hex[:16], 0, time.perf_counter()

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            more = {**SAFE, "X-Request-Id": self.id}
            raw = [(name.lower().encode(), value.encode()) for name, value in more.items()]
            message = {**message, "headers": [*message.get("headers", []), *raw]}
        with suppress(OSError):  # The client has gone.
            await self._send(message)


def _too_large(most: int, upload: bool) -> Problem:
    setting = "max_upload" if upload else "max_body"
    return Problem(413, f"the body has more than {most:,} bytes", fix=f"send less, or raise serve.{setting}")
