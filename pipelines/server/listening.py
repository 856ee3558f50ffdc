"""Listening: the application on an address, its log as JSON lines, and an end that loses nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime

import uvicorn
from fastapi import FastAPI

from fovea.pipelines.bound import bound, url
from fovea.pipelines.server.served import Served

IDLE = 5
"""Seconds that an idle connection is kept."""


class Announced(uvicorn.Server):
    """A server that prints where it is once it can be asked."""

    def __init__(self, config: uvicorn.Config, address: str) -> None:
        super().__init__(config)
        self.address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load, listen, and say so."""
        await super().startup(sockets)
        if self.started:
            print(self.address, flush=True)


class Lines(logging.Formatter):
    """A record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "log": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line)


def listen(app: FastAPI, served: Served, host: str, port: int, page: str = "") -> int:
    """Serve until SIGTERM or SIGINT; running requests then have `drain` seconds. Once it listens, the address of `page`
    is printed. Raises ConfigError where the address is taken.
    """
    sockets = bound(host, port)
    _log_as_lines()
    config = uvicorn.Config(
        app, host=host, port=sockets[0].getsockname()[1], log_config=None, access_log=False, server_header=False,
        timeout_keep_alive=IDLE, timeout_graceful_shutdown=max(1, round(served.settings.drain)), lifespan="on",
        ws="none",
    )  # fmt: skip
    server = Announced(config, url(host, config.port) + page)
    with suppress(KeyboardInterrupt):  # Of uvicorn, once it has ended: the way to end it, and no fault.
        asyncio.run(server.serve(sockets))
    return 0 if server.started else 1


def _log_as_lines() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    for name in ("fovea", "uvicorn"):
        log = logging.getLogger(name)
        log.setLevel(logging.INFO)
        log.handlers[:] = [handler]  # What counts warnings for the end of a command would grow for ever.
        log.propagate = False
